"""The node files of a render, in a folder where all that they name is there, so that the program can load them."""
import base64
import re
import subprocess

from helm import by_name, container, of_kind, pod_spec


def laid_out(rendered, folder, postroad):
    """The node files, their paths made ones below the folder. Secrets that the release does not make get stand-ins."""
    volumes = {volume["name"]: volume for volume in pod_spec(rendered)["volumes"]}
    made = by_name(rendered, "Secret")
    mounts = {mount["mountPath"]: volumes.get(mount["name"], {}) for mount in container(rendered)["volumeMounts"]}
    for path, volume in mounts.items():
        below(folder, path).mkdir(parents=True, exist_ok=True)
        secret = made.get(volume.get("secret", {}).get("secretName"))
        for key, data in (secret or {"data": {}})["data"].items():
            write(below(folder, path) / key, base64.b64decode(data))
    files = []
    for name, text in node_files(rendered).items():
        for path in sorted(re.findall(r'_file = "(/[^"]+)"', text)):
            assert any(path.startswith(f"{mount}/") for mount in mounts), f"{name} names {path}, where nothing is mounted"
            stand_in(below(folder, path), text, folder, postroad)
        for mount in mounts:
            text = text.replace(f'"{mount}/', f'"{below(folder, mount)}/')
        files.append(folder / name)
        write(files[-1], text.encode())
    return files


def node_files(rendered):
    (config,) = [c for c in of_kind(rendered, "ConfigMap") if any(key.endswith(".toml") for key in c["data"])]
    return config["data"]


def below(folder, path):
    return folder / path.lstrip("/")


def write(path, octets):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)
    path.chmod(0o600)


def stand_in(path, text, folder, postroad):
    """Makes the file that a node file names, where the release does not: by its name."""
    if path.exists():
        return
    if path.name == "dkim.pem":
        run(postroad, "keygen", "dkim", "--out", path)
    elif path.name == "srs.secret":
        run(postroad, "keygen", "srs", "--out", path)
    elif path.name == "tokens":
        write(path, b"a-token-of-a-test-only admin\n")
    else:
        certificate(path, re.search(r'name = "([^"]+)"', text)[1], folder, postroad)


def certificate(path, node, folder, postroad):
    """A certificate, its key or its authority, whichever the name says; one of the node for all."""
    made = folder / "made"
    run(postroad, "cluster", "certificates", "--dir", made, node)
    if path.name in ("ca.pem", "ca.crt"):
        source = made / "ca.pem"
    else:
        source = made / node / ("node.key" if path.suffix == ".key" else "node.pem")
    write(path, source.read_bytes())


def run(*words):
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
