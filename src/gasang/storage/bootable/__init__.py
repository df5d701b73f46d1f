"""What a boot loader would start from a disk: its configuration read as the loader reads it, and the kernel that it names."""
