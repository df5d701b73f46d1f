"""Appliances: machines of other hypervisors with their disks and settings, as OVF packages."""
