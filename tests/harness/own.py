"""What this machine is known by, so that a stand-in can list it."""
import glob
import json
import subprocess


def own_card():
    for path in glob.glob("/sys/class/net/*/address"):
        with open(path) as f:
            address = f.read().strip().upper()
        if address != "00:00:00:00:00:00" and len(address) == 17:
            return address
    return None


def own_address():
    try:
        found = json.loads(subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, check=True).stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None
    return next((a["local"] for i in found for a in i["addr_info"] if i["ifname"] != "lo"), None)
