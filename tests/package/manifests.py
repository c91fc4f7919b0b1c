#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Kubernetes manifests hold together: what one part names, another has.

Arguments: files. NCCL_DEVMEM_* in them must be among the words on stdin. Ends with 1
and a line for each fault.
"""
import re
import sys

import yaml

faults = 0


def fault(where, text):
    global faults
    faults += 1
    print(f"{where}: {text}")


def pod_templates(doc):
    """Each (labels that select it, template), wherever it is in the document."""
    spec = doc.get("spec", {})
    if "template" in spec:
        yield spec.get("selector", {}).get("matchLabels", {}), spec["template"]
    for replica in spec.get("mpiReplicaSpecs", {}).values():
        yield {}, replica["template"]


def check_pod(where, selected, template, config_maps):
    labels = template.get("metadata", {}).get("labels", {})
    for key, value in selected.items():
        if labels.get(key) != value:
            fault(where, f"selects {key}={value}, which its pods are not")
    spec = template["spec"]
    volumes = {v["name"]: v for v in spec.get("volumes", [])}
    used = set()
    for container in spec["containers"]:
        for mount in container.get("volumeMounts", []):
            used.add(mount["name"])
            if mount["name"] not in volumes:
                fault(where, f"mounts {mount['name']}, which is no volume")
    for name, volume in volumes.items():
        if name not in used:
            fault(where, f"nobody mounts {name}")
        wanted = volume.get("configMap", {}).get("name")
        if wanted and wanted not in config_maps:
            fault(where, f"there is no ConfigMap {wanted}")


def main():
    parameters = set(sys.stdin.read().split())
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        docs = list(yaml.safe_load_all(text))
        config_maps = {d["metadata"]["name"] for d in docs
                       if d["kind"] == "ConfigMap"}
        pods = 0
        for doc in docs:
            where = f"{path}: {doc['kind']} {doc['metadata']['name']}"
            for selected, template in pod_templates(doc):
                pods += 1
                check_pod(where, selected, template, config_maps)
        if not pods:
            fault(path, "starts nothing")
        for name in re.findall(r"NCCL_DEVMEM_[A-Z_]+", text):
            if name not in parameters:
                fault(path, f"{name} is no parameter")
    return 1 if faults else 0


sys.exit(main())
