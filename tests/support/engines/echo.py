"""A program inside a container's network, for images that have none such: it answers one datagram in capitals."""

ECHO = """
import ctypes, os, socket, sys
ctypes.CDLL(None).setns(os.open(f"/proc/{sys.argv[1]}/ns/net", os.O_RDONLY), 0)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", int(sys.argv[2])))
print("ready", flush=True)
data, client = server.recvfrom(100)
server.sendto(data.upper(), client)
"""
"""Its words: a process of the container, and the port."""
