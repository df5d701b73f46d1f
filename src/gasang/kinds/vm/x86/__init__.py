"""The x86-64 board: how a PC without legacy is laid out, described to its kernel, and started."""
