"""The accelerator of hosts with /dev/kvm: the processor itself runs the vCPUs."""
