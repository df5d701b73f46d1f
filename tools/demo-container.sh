# What `make demo` shows of containers: one made of this host's busybox, with a daemon and a home of its own that are gone afterwards.
# It needs root and busybox-static, no network; where they are not, it says so and is content.
set -eu
busybox=$(command -v busybox || true)
if [ "$(id -u)" -ne 0 ] || [ -z "$busybox" ] || ldd "$busybox" >/dev/null 2>&1; then
  echo "Containers need root, and this demonstration busybox-static: left out here"
  exit 0
fi
GASANG_HOME=$(mktemp -d /var/tmp/gasang-demo.XXXXXX)
export GASANG_HOME
trap 'gasang daemon stop >/dev/null 2>&1 || true; rm -rf "$GASANG_HOME"' EXIT
root=$GASANG_HOME/root
mkdir -p "$root/bin" "$root/etc" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
cp "$busybox" "$root/bin/busybox"
for name in sh ps id hostname uname awk grep cat; do ln -s busybox "$root/bin/$name"; done
echo "root:x:0:0:root:/:/bin/sh" > "$root/etc/passwd"

inside='
echo "host name:  $(hostname)"
echo "processes:  $(ps -o pid | grep -c "[0-9]"), of its own"
echo "networks:   $(awk -F"[ :]+" "NR > 2 { print \$2 }" /proc/net/dev)"
echo "rights:     $(awk "/CapEff/ { print \$2 }" /proc/self/status)"
'
echo "Running a container on this host's kernel, from an image made of its busybox (a daemon starts for it)"
tar -C "$root" -c . | gasang import --change 'ENV PATH=/bin' - demo:1 >/dev/null &&
  gasang run --rm --hostname demo --network none --memory 64M --pids-limit 20 --cap-drop ALL demo:1 sh -c "$inside" ||
  echo "No container ran on this host: gasang doctor tells what to mend"
