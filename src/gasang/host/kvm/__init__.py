"""/dev/kvm of an x86-64 Linux host as it is: structures, ioctls, capabilities. What to do with them is accel/kvm's."""
