# What `make demo` runs inside the machine.
echo "kernel:     $(uname -srmo)"
. /etc/os-release
echo "system:     $PRETTY_NAME"
echo "processor:  $(sed -n 's/^isa[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) of them"
echo "memory:     $(awk '/MemTotal/ { print int($2 / 1024) " MiB" }' /proc/meminfo)"
echo "packages:   $(dpkg -l | grep -c '^ii') installed and configured"
echo "root disk:  $(df -h / | awk 'NR == 2 { print $3 " used of " $2 }')"
