"""The agent itself, in native Python: everything here is compiled into one program for the guest's processor."""
