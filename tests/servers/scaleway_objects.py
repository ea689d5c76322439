"""What the stand-in of Scaleway does with instances, volumes, IPs and security groups."""
import datetime
import json
import re
import uuid

GB = 10 ** 9
TYPES = {"DEV1-S": ("x86_64", 20), "DEV1-M": ("x86_64", 40), "DEV1-L": ("x86_64", 80), "PLAY2-PICO": ("x86_64", 0), "PLAY2-NANO": ("x86_64", 0),
         "COPARM1-2C-8G": ("arm64", 0), "START1-S": ("x86_64", 50)}
IMAGES = {"debian_bookworm": "Debian 12", "debian_trixie": "Debian 13", "ubuntu_noble": "Ubuntu 24.04"}
DEFAULT_GROUP = "Default security group"
ACTIONS = {"stopped": ["poweron", "backup"], "running": ["poweroff", "terminate", "reboot", "stop_in_place", "backup"],
           "stopped in place": ["poweron", "poweroff", "terminate", "reboot", "backup"]}


class Refused(Exception):
    def __init__(self, status, **body):
        super().__init__(json.dumps(body))
        self.status, self.body, self.headers = status, body, {}


def not_found(resource, key):
    return Refused(404, type="not_found", message="resource is not found", resource=resource, resource_id=key)


def invalid(argument, reason, text):
    return Refused(400, type="invalid_arguments", message="invalid argument(s)", details=[{"argument_name": argument, "reason": reason, "help_message": text}])


def transient(resource, key, state):
    return Refused(409, type="transient_state", message="resource is in a transient state", resource=resource, resource_id=key, current_state=state)


def precondition(text):
    return Refused(412, type="precondition_failed", message="precondition failed", precondition="resource_not_usable", help_message=text)


def now(block=False):
    at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return at + ("Z" if block else "+00:00")


def new_id():
    return str(uuid.uuid4())


def image_id(label, arch, kind):
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{label}.{arch}.{kind}"))


# ---- instances ----

def server_summary(c, server):
    """As it is answered: what it has is looked up each time."""
    shown = {k: v for k, v in server.items() if not k.startswith("_")}
    ips = [i for i in c.ips.values() if i["server"] and i["server"]["id"] == server["id"]]
    shown["public_ips"] = [{"id": i["id"], "address": i["address"] or i["prefix"].split("/")[0], "gateway": None, "netmask": "32", "family": "inet" if i["address"] else "inet6",
                            "dynamic": False, "provisioning_mode": "dhcp", "tags": i["tags"], "state": "attached"} for i in ips]
    if server["dynamic_ip_required"] and server["state"] == "running":
        shown["public_ips"].append({"id": new_id(), "address": "51.15.255.1", "gateway": None, "netmask": "32", "family": "inet", "dynamic": True,
                                    "provisioning_mode": "dhcp", "tags": [], "state": "attached"})
    shown["public_ip"] = next((p for p in shown["public_ips"] if p["family"] == "inet"), None)
    shown["allowed_actions"] = ACTIONS.get(server["state"], [])
    return shown


def list_servers(c, given, query, body):
    rows = [server_summary(c, s) for s in c.servers.values() if query.get("project", s["project"]) == s["project"] and query.get("name", "") in s["name"]
            and set(filter(None, query.get("tags", "").split(","))) <= set(s["tags"])]
    return 200, {"servers": rows}


def the_server(c, given):
    if given["server_id"] not in c.servers:
        raise not_found("instance_server", given["server_id"])
    return c.servers[given["server_id"]]


def get_server(c, given, query, body):
    return 200, {"server": server_summary(c, the_server(c, given))}


def root_volume(c, wanted, kind, image):
    volume_type, size = wanted.get("volume_type", "sbs_volume"), wanted.get("size", 10 * GB)
    if volume_type == "b_ssd":
        raise invalid("volumes.0.volume_type", "constraint", "b_ssd volumes are not available any more")
    if size % 512:
        raise invalid("volumes.0.size", "constraint", "must be a multiple of 512")
    if volume_type == "l_ssd":
        if size > TYPES[kind][1] * GB:
            raise Refused(400, type="invalid_request_error", message="invalid request", fields={"volumes.0.size": ["the total size of local volumes is too large"]})
        volume = {"id": new_id(), "name": f"{image}_local", "size": size, "volume_type": "l_ssd", "state": "available", "zone": c.zone, "boot": False,
                  "export_uri": None, "organization": c.project, "project": c.project, "server": None, "creation_date": now(), "modification_date": now()}
        c.local_volumes[volume["id"]] = volume
        return volume
    volume = new_volume(c, f"{image}_sbs_volume_0", size, 5000, [])
    volume["status"] = "in_use"
    return {"id": volume["id"], "volume_type": "sbs_volume", "state": "available", "zone": c.zone, "boot": False}


def create_server(c, given, query, body):
    for name in ("name", "commercial_type", "image"):
        if not body.get(name):
            raise invalid(name, "required", "required key not provided")
    kind, labels = body["commercial_type"], c.image_labels()
    if kind not in TYPES:
        raise invalid("commercial_type", "constraint", "is not a valid commercial type")
    if body["image"] not in labels or labels[body["image"]][1] != TYPES[kind][0]:
        raise not_found("instance_image", body["image"])
    if len(c.servers) >= c.quota:
        raise Refused(403, type="quotas_exceeded", message="quota(s) exceeded", details=[{"resource": "InstancesServers", "quota": c.quota, "current": len(c.servers)}])
    group = next((g for g in c.groups.values() if g["id"] == body.get("security_group")), None) or c.groups[c.default_group]
    root = root_volume(c, body.get("volumes", {}).get("0", {}), kind, IMAGES[labels[body["image"]][0]])
    server = {"id": new_id(), "name": body["name"], "arch": TYPES[kind][0], "commercial_type": kind, "boot_type": body.get("boot_type", "local"), "organization": c.project,
              "project": body["project"], "hostname": body["name"], "image": {"id": body["image"], "name": IMAGES[labels[body["image"]][0]], "arch": TYPES[kind][0]},
              "volumes": {"0": root}, "tags": body.get("tags", []), "state": "stopped", "state_detail": "", "protected": body.get("protected", False),
              "dynamic_ip_required": body.get("dynamic_ip_required", True), "mac_address": "de:00:01:%02x:%02x:%02x" % tuple(uuid.uuid4().bytes[:3]), "private_ip": None, "ipv6": None,
              "security_group": {"id": group["id"], "name": group["name"]}, "creation_date": now(), "modification_date": now(), "private_nics": [], "zone": c.zone,
              "routed_ip_enabled": True, "enable_ipv6": False, "location": None, "maintenances": [], "placement_group": None, "filesystems": [], "end_of_service": False,
              "_user_data": {}, "_data": f"fresh {labels[body['image']][0]}"}
    server["dns"] = f"{server['id']}.pub.instances.scw.cloud"
    c.servers[server["id"]] = server
    refer(c, root["id"], server["id"])
    return 201, {"server": server_summary(c, server)}


def refer(c, volume_id, server_id):
    volume = c.volumes.get(volume_id)
    if volume:
        volume["references"] = [{"id": new_id(), "product_resource_type": "instance_server", "product_resource_id": server_id, "created_at": now(True),
                                 "type": "exclusive", "status": "attached"}] if server_id else []
        volume["status"] = "in_use" if server_id else "available"


def patch_server(c, given, query, body):
    server = the_server(c, given)
    if "commercial_type" in body:
        if server["state"] != "stopped":
            raise precondition("the instance must be powered off")
        if body["commercial_type"] not in TYPES:
            raise invalid("commercial_type", "constraint", "is not a valid commercial type")
    if isinstance(body.get("security_group"), dict):
        group = c.groups.get(body["security_group"].get("id"))
        if group is None:
            raise not_found("instance_security_group", body["security_group"].get("id"))
        body = {**body, "security_group": {"id": group["id"], "name": group["name"]}}
    if "volumes" in body:
        body = {**body, "volumes": swap_volumes(c, server, body["volumes"])}
    server.update(body)
    server["modification_date"] = now()
    return 200, {"server": server_summary(c, server)}


def swap_volumes(c, server, wanted):
    if server["state"] != "stopped":
        raise precondition("the instance must be powered off")
    for volume in server["volumes"].values():
        refer(c, volume["id"], None)
    swapped = {}
    for key, given in wanted.items():
        if given["id"] not in c.volumes:
            raise not_found("instance_volume", given["id"])
        if c.volumes[given["id"]]["status"] != "available":
            raise transient("volume", given["id"], c.volumes[given["id"]]["status"])
        swapped[key] = {"id": given["id"], "volume_type": "sbs_volume", "state": "available", "zone": c.zone, "boot": given.get("boot", False)}
        refer(c, given["id"], server["id"])
    return swapped


def delete_server(c, given, query, body):
    server = the_server(c, given)
    if server["protected"]:
        raise precondition("the instance is protected")
    if server["state"] != "stopped":
        raise precondition("the instance must be powered off")
    del c.servers[server["id"]]
    for volume in server["volumes"].values():
        c.later(lambda key=volume["id"]: refer(c, key, None))
    for ip in c.ips.values():
        if ip["server"] and ip["server"]["id"] == server["id"]:
            ip["server"], ip["state"] = None, "detached"
    return 204, None


def act(c, given, query, body):
    server, action = the_server(c, given), body.get("action")
    if action not in ACTIONS.get(server["state"], []):
        raise transient("instance_server", server["id"], server["state"]) if server["state"] in ("starting", "stopping") else precondition(f"{action} is not allowed now")
    if server["protected"] and action in ("poweroff", "terminate"):
        raise precondition("the instance is protected")
    states = {"poweron": ("starting", "allocating node", "running", "booted"), "poweroff": ("stopping", "stopping", "stopped", ""),
              "stop_in_place": ("stopping", "stopping in place", "stopped in place", "stopped in place"), "reboot": ("stopping", "rebooting", "running", "booted")}
    during, detail, state, then = states[action]
    former = server["state"]
    server.update(state=during, state_detail=detail)
    how = c.take_outcome()

    def end():
        if how == "fails":
            server.update(state=former, state_detail="no node could be allocated" if action == "poweron" else "")
        else:
            server.update(state=state, state_detail=then)
    if how != "hangs":
        c.later(end)
    return 202, {"task": {"id": "00000000-0000-0000-0000-000000000000", "description": "fake task", "status": "pending", "href_from": f"/servers/{server['id']}/action",
                          "href_result": f"/servers/{server['id']}", "started_at": now(), "terminated_at": None, "progress": 0, "zone": c.zone}}


def get_user_data(c, given, query, body):
    data = the_server(c, given)["_user_data"]
    if given["key"] not in data:
        raise not_found("instance_user_data", given["key"])
    return 200, data[given["key"]]


def patch_user_data(c, given, query, body):
    the_server(c, given)["_user_data"][given["key"]] = body
    return 204, None


def attach_volume(c, given, query, body):
    server, volume = the_server(c, given), the_volume(c, body)
    if volume["status"] != "available":
        raise transient("volume", volume["id"], volume["status"])
    key = str(next(i for i in range(1, 16) if str(i) not in server["volumes"]))
    server["volumes"][key] = {"id": volume["id"], "volume_type": "sbs_volume", "state": "available", "zone": c.zone, "boot": False}
    refer(c, volume["id"], server["id"])
    return 200, {"server": server_summary(c, server)}


def detach_volume(c, given, query, body):
    server = the_server(c, given)
    server["volumes"] = {k: v for k, v in server["volumes"].items() if v["id"] != body["volume_id"]}
    refer(c, body["volume_id"], None)
    return 200, {"server": server_summary(c, server)}


# ---- local volumes ----

def get_local_volume(c, given, query, body):
    if given["volume_id"] not in c.local_volumes:
        raise not_found("instance_volume", given["volume_id"])
    return 200, {"volume": c.local_volumes[given["volume_id"]]}


def delete_local_volume(c, given, query, body):
    get_local_volume(c, given, query, body)
    del c.local_volumes[given["volume_id"]]
    return 204, None


# ---- block volumes and their snapshots ----

def new_volume(c, name, size, iops, tags, parent=None, data="empty"):
    volume = {"id": new_id(), "name": name, "type": "sbs_5k" if iops == 5000 else "sbs_15k", "size": size, "project_id": c.project, "created_at": now(True), "updated_at": now(True),
              "references": [], "parent_snapshot_id": parent, "status": "creating", "tags": tags or [], "specs": {"perf_iops": iops, "class": "sbs"},
              "last_detached_at": None, "kms_key_id": None, "zone": c.zone}
    c.volumes[volume["id"]] = volume
    c.data[volume["id"]] = data
    return volume


def the_volume(c, given):
    if given["volume_id"] not in c.volumes:
        raise not_found("volume", given["volume_id"])
    return c.volumes[given["volume_id"]]


def list_volumes(c, given, query, body):
    rows = [v for v in c.volumes.values() if query.get("project_id", v["project_id"]) == v["project_id"] and query.get("name", "") in v["name"]]
    return 200, {"volumes": rows}


def get_volume(c, given, query, body):
    return 200, the_volume(c, given)


def create_volume(c, given, query, body):
    source = body.get("from_snapshot") or {}
    if source:
        snapshot = the_snapshot(c, {"snapshot_id": source["snapshot_id"]})
        size, data = source.get("size") or snapshot["size"], c.data[snapshot["id"]]
    else:
        size, data = body["from_empty"]["size"], "empty"
    if size < 5 * GB or size > 10000 * GB:
        raise invalid("size", "constraint", "must be between 5 GB and 10 TB")
    volume = new_volume(c, body["name"], size, body.get("perf_iops", 5000), body.get("tags"), source.get("snapshot_id"), data)
    c.later(lambda: volume.update(status="available") if volume["status"] == "creating" else None)
    return 200, dict(volume)


def patch_volume(c, given, query, body):
    volume = the_volume(c, given)
    if volume["status"] not in ("available", "in_use"):
        raise transient("volume", volume["id"], volume["status"])
    size, before, status = body.get("size"), dict(volume), volume["status"]
    if size is not None and size < volume["size"]:
        raise invalid("size", "constraint", "must not be smaller than the current size")
    if size is not None and status == "in_use" and c.grows_only_when_off:
        users = [c.servers[r["product_resource_id"]] for r in volume["references"] if r["product_resource_id"] in c.servers]
        if any(s["state"] != "stopped" for s in users):
            raise precondition("the instance must be powered off")
    for name in ("name", "tags"):
        if body.get(name) is not None:
            volume[name] = body[name]
    if body.get("perf_iops"):
        volume["specs"] = {**volume["specs"], "perf_iops": body["perf_iops"]}
    if size is not None:
        volume["status"], how = "updating", c.take_outcome()
        c.later(lambda: volume.update(status=status, **({} if how == "fails" else {"size": size})))
    return 200, {**before, "status": volume["status"]}


def delete_volume(c, given, query, body):
    volume = the_volume(c, given)
    if volume["status"] == "in_use":
        raise precondition("the volume is attached")
    del c.volumes[volume["id"]]
    return 204, None


def the_snapshot(c, given):
    if given["snapshot_id"] not in c.snapshots:
        raise not_found("snapshot", given["snapshot_id"])
    return c.snapshots[given["snapshot_id"]]


def list_snapshots(c, given, query, body):
    rows = [s for s in c.snapshots.values() if query.get("volume_id", s["parent_volume"]["id"]) == s["parent_volume"]["id"] and query.get("name", "") in s["name"]
            and query.get("project_id", s["project_id"]) == s["project_id"]]
    return 200, {"snapshots": rows}


def get_snapshot(c, given, query, body):
    return 200, the_snapshot(c, given)


def create_snapshot(c, given, query, body):
    volume = the_volume(c, body)
    if volume["status"] not in ("available", "in_use"):
        raise transient("volume", volume["id"], volume["status"])
    snapshot = {"id": new_id(), "name": body["name"], "parent_volume": {k: volume[k] for k in ("id", "name", "type", "status")}, "size": volume["size"],
                "project_id": body["project_id"], "created_at": now(True), "updated_at": now(True), "references": [], "status": "creating", "tags": body.get("tags") or [],
                "class": "sbs", "zone": c.zone, "public": False}
    c.snapshots[snapshot["id"]], c.data[snapshot["id"]] = snapshot, c.data[volume["id"]]
    how = c.take_outcome()
    c.later(lambda: snapshot.update(status="error" if how == "fails" else "available"))
    return 200, dict(snapshot)


def delete_snapshot(c, given, query, body):
    del c.snapshots[the_snapshot(c, given)["id"]]
    return 204, None


# ---- IPs ----

def list_ips(c, given, query, body):
    rows = [i for i in c.ips.values() if query.get("project", i["project"]) == i["project"] and set(filter(None, query.get("tags", "").split(","))) <= set(i["tags"])]
    return 200, {"ips": rows}


def the_ip(c, given):
    for ip in c.ips.values():
        if given["ip"] in (ip["id"], ip["address"]):
            return ip
    raise not_found("instance_ip", given["ip"])


def get_ip(c, given, query, body):
    return 200, {"ip": the_ip(c, given)}


def create_ip(c, given, query, body):
    kind, number = body.get("type", "routed_ipv4"), len(c.ips) + 1
    ip = {"id": new_id(), "address": f"{c.network}.{number}" if kind == "routed_ipv4" else None, "prefix": None if kind == "routed_ipv4" else f"2001:bc8:1:{number:x}::/64",
          "reverse": None, "server": None, "organization": c.project, "project": body["project"], "zone": c.zone, "type": kind, "state": "detached",
          "tags": body.get("tags", []), "ipam_id": new_id()}
    c.ips[ip["id"]] = ip
    return 201, {"ip": dict(ip)}


def patch_ip(c, given, query, body):
    ip = the_ip(c, given)
    if body.get("reverse") and not c.leads_back(body["reverse"], ip["address"]):
        raise invalid("reverse", "constraint", "the name does not lead to the address")
    for name in ("tags", "reverse"):
        if name in body:
            ip[name] = body[name]
    if "server" in body:
        server = the_server(c, {"server_id": body["server"]}) if body["server"] else None
        ip["server"], ip["state"] = (server and {"id": server["id"], "name": server["name"]}), "attached" if server else "detached"
    return 200, {"ip": dict(ip)}


def delete_ip(c, given, query, body):
    del c.ips[the_ip(c, given)["id"]]
    return 204, None


# ---- security groups ----

def shown_group(group):
    return {k: v for k, v in group.items() if not k.startswith("_")}


def the_group(c, given):
    if given["group_id"] not in c.groups:
        raise not_found("instance_security_group", given["group_id"])
    return c.groups[given["group_id"]]


def list_groups(c, given, query, body):
    rows = [shown_group(g) for g in c.groups.values() if query.get("project", g["project"]) == g["project"] and query.get("name", "") in g["name"]]
    return 200, {"security_groups": rows}


def get_group(c, given, query, body):
    return 200, {"security_group": shown_group(the_group(c, given))}


GROUP = {"description": "", "stateful": True, "inbound_default_policy": "accept", "outbound_default_policy": "accept", "tags": []}


def check_policies(body):
    for name in ("inbound_default_policy", "outbound_default_policy"):
        if body.get(name, "drop") not in ("accept", "drop"):
            raise invalid(name, "constraint", "must be accept or drop")


def create_group(c, given, query, body):
    unknown = set(body) - set(GROUP) - {"name", "project"}
    if unknown or not body.get("name"):
        raise invalid(next(iter(unknown), "name"), "unknown" if unknown else "required", "not accepted")
    check_policies(body)
    # Against mail; nobody may change it.
    mail = {"id": new_id(), "protocol": "TCP", "direction": "outbound", "action": "drop", "ip_range": "0.0.0.0/0", "dest_port_from": 25, "dest_port_to": None,
            "position": 1, "editable": False, "zone": c.zone}
    group = {**GROUP, **body, "id": new_id(), "organization": c.project, "creation_date": now(), "modification_date": now(), "project_default": False, "servers": [],
             "enable_default_security": True, "state": "available", "zone": c.zone, "_rules": [mail]}
    c.groups[group["id"]] = group
    return 201, {"security_group": shown_group(group)}


def patch_group(c, given, query, body):
    group, unknown = the_group(c, given), set(body) - set(GROUP) - {"name"}
    if unknown:
        raise invalid(unknown.pop(), "unknown", "not accepted")
    check_policies(body)
    group.update(body)
    return 200, {"security_group": shown_group(group)}


def delete_group(c, given, query, body):
    group = the_group(c, given)
    if any(s["security_group"]["id"] == group["id"] for s in c.servers.values()):
        raise precondition("the security group is used by an instance")
    del c.groups[group["id"]]
    return 204, None


def list_rules(c, given, query, body):
    return 200, {"rules": the_group(c, given)["_rules"]}


def put_rules(c, given, query, body):
    group, rules = the_group(c, given), []
    for rule in body["rules"]:
        unknown = set(rule) - {"id", "action", "protocol", "direction", "ip_range", "dest_port_from", "dest_port_to", "position", "editable", "zone"}
        if unknown or rule["protocol"] not in ("TCP", "UDP", "ICMP", "ANY") or rule["direction"] not in ("inbound", "outbound") or rule["action"] not in ("accept", "drop"):
            raise invalid("rules", "constraint", f"a rule is not accepted: {rule}")
        if not re.fullmatch(r"[0-9a-fA-F.:]+(/\d+)?", rule["ip_range"]):
            raise invalid("rules.ip_range", "format", "is not a network")
        end = rule.get("dest_port_to")
        rules.append({"id": new_id(), "zone": c.zone, "dest_port_from": None, **rule, "dest_port_to": None if end == rule.get("dest_port_from") else end})
    group["_rules"] = [r for r in group["_rules"] if not r["editable"]] + rules
    return 200, {"rules": group["_rules"]}


# ---- what is sold ----

def server_types(c, given, query, body):
    return 200, {"servers": {name: {"alt_names": [], "arch": arch, "ncpus": 2, "ram": 2 << 30, "gpu": 0, "hourly_price": 0.01, "monthly_price": 6.0,
                                    "volumes_constraint": {"min_size": 0, "max_size": local * GB}, "per_volume_constraint": {"l_ssd": {"min_size": GB, "max_size": 800 * GB}},
                                    "end_of_service": name == "START1-S"} for name, (arch, local) in TYPES.items()}}


def availability(c, given, query, body):
    return 200, {"servers": {name: {"availability": "shortage" if name in c.sold_out else "available"} for name in TYPES}}


def marketplace_images(c, given, query, body):
    return 200, {"images": [{"id": new_id(), "name": name, "label": label} for label, name in IMAGES.items()]}


def local_images(c, given, query, body):
    label, kind = query.get("image_label"), query.get("type")
    if label not in IMAGES:
        raise not_found("MarketplaceImage", label)
    rows = [{"id": image_id(label, arch, kind), "arch": arch, "zone": c.zone, "label": label, "type": kind,
             "compatible_commercial_types": [n for n, (a, local) in TYPES.items() if a == arch and (kind == "instance_sbs" or local)]} for arch in ("arm64", "x86_64")]
    return 200, {"local_images": rows}


Z, B = "/instance/v1/zones/{zone}", "/block/v1/zones/{zone}"
SERVER, VOLUME, SNAPSHOT, GROUPS = Z + "/servers/{server_id}", B + "/volumes/{volume_id}", B + "/snapshots/{snapshot_id}", Z + "/security_groups"
ROUTES = {
    ("GET", Z + "/servers"): list_servers, ("POST", Z + "/servers"): create_server, ("GET", SERVER): get_server, ("PATCH", SERVER): patch_server,
    ("DELETE", SERVER): delete_server, ("POST", SERVER + "/action"): act, ("GET", SERVER + "/user_data/{key}"): get_user_data,
    ("PATCH", SERVER + "/user_data/{key}"): patch_user_data, ("POST", SERVER + "/attach-volume"): attach_volume, ("POST", SERVER + "/detach-volume"): detach_volume,
    ("GET", Z + "/volumes/{volume_id}"): get_local_volume, ("DELETE", Z + "/volumes/{volume_id}"): delete_local_volume,
    ("GET", B + "/volumes"): list_volumes, ("POST", B + "/volumes"): create_volume, ("GET", VOLUME): get_volume, ("PATCH", VOLUME): patch_volume,
    ("DELETE", VOLUME): delete_volume, ("GET", B + "/snapshots"): list_snapshots, ("POST", B + "/snapshots"): create_snapshot,
    ("GET", SNAPSHOT): get_snapshot, ("DELETE", SNAPSHOT): delete_snapshot,
    ("GET", Z + "/ips"): list_ips, ("POST", Z + "/ips"): create_ip, ("GET", Z + "/ips/{ip}"): get_ip, ("PATCH", Z + "/ips/{ip}"): patch_ip,
    ("DELETE", Z + "/ips/{ip}"): delete_ip,
    ("GET", GROUPS): list_groups, ("POST", GROUPS): create_group, ("GET", GROUPS + "/{group_id}"): get_group, ("PATCH", GROUPS + "/{group_id}"): patch_group,
    ("DELETE", GROUPS + "/{group_id}"): delete_group, ("GET", GROUPS + "/{group_id}/rules"): list_rules, ("PUT", GROUPS + "/{group_id}/rules"): put_rules,
    ("GET", Z + "/products/servers"): server_types, ("GET", Z + "/products/servers/availability"): availability,
    ("GET", "/marketplace/v2/images"): marketplace_images, ("GET", "/marketplace/v2/local-images"): local_images,
}
LISTS = {list_servers: "servers", list_volumes: "volumes", list_snapshots: "snapshots", list_ips: "ips", list_groups: "security_groups", list_rules: "rules",
         server_types: "servers", availability: "servers", marketplace_images: "images", local_images: "local_images"}
