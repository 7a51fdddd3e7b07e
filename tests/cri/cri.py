#!/usr/bin/python3
"""A client of the Container Runtime Interface (runtime.v1), as small as the tests need it.

Messages are written and read field by field (protobuf wire format), so nothing but Debian's python3-grpcio is needed.
Field numbers are those of the public api.proto of k8s.io/cri-api.

usage: cri.py SOCKET run NAME CGROUP_PARENT [HOST_PORT:CONTAINER_PORT]   prints the sandbox id
       cri.py SOCKET status|stop|remove ID                               status prints JSON
       cri.py SOCKET image REFERENCE                                     fails if the runtime doesn't have it
       cri.py SOCKET ready                                               fails if runtime or network aren't
"""

import json
import sys

import grpc

VARINT, BYTES = 0, 2


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """One field: an int as varint, str and bytes (an encoded message) length-delimited."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def parse(data):
    """Field number to the list of its values, ints and bytes."""
    fields, at = {}, 0

    def number():
        nonlocal at
        result = shift = 0
        while True:
            byte = data[at]
            at += 1
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result

    while at < len(data):
        key = number()
        if key & 7 == VARINT:
            value = number()
        elif key & 7 == BYTES:
            length = number()
            value = data[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {key & 7} of field {key >> 3}")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def text(fields, number):
    return fields.get(number, [b""])[0].decode()


class Runtime:
    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix://{socket}")

    def call(self, method, request, service="RuntimeService"):
        unary = self.channel.unary_unary(
            f"/runtime.v1.{service}/{method}", request_serializer=bytes, response_deserializer=bytes
        )
        return parse(unary(request, timeout=30, wait_for_ready=True))

    def run(self, name, cgroup_parent, port=None):
        metadata = field(1, name) + field(2, f"uid-{name}") + field(3, "default")
        config = field(1, metadata) + field(2, name) + field(3, "/run/lab/logs")
        if port:
            host, container = (int(part) for part in port.split(":"))
            config += field(5, field(2, container) + field(3, host))
        config += field(8, field(1, cgroup_parent))
        return text(self.call("RunPodSandbox", field(1, config)), 1)

    def status(self, sandbox):
        status = parse(self.call("PodSandboxStatus", field(1, sandbox))[1][0])
        network = parse(status.get(5, [b""])[0])
        return {
            "ready": status.get(3, [0])[0] == 0,
            "ip": text(network, 1),
            "more": [text(parse(ip), 1) for ip in network.get(2, [])],
        }

    def has_image(self, reference):
        return 1 in self.call("ImageStatus", field(1, field(1, reference)), "ImageService")

    def is_ready(self):
        conditions = parse(self.call("Status", b"")[1][0]).get(1, [])
        return len(conditions) >= 2 and all(parse(condition).get(2) == [1] for condition in conditions)


def main():
    socket, command, *rest = sys.argv[1:]
    runtime = Runtime(socket)
    if command == "run":
        print(runtime.run(*rest))
    elif command == "status":
        print(json.dumps(runtime.status(*rest)))
    elif command == "stop":
        runtime.call("StopPodSandbox", field(1, rest[0]))
    elif command == "remove":
        runtime.call("RemovePodSandbox", field(1, rest[0]))
    elif command == "image":
        return 0 if runtime.has_image(*rest) else 1
    elif command == "ready":
        return 0 if runtime.is_ready() else 1
    else:
        sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
