"""What is released: a signed repository of extensions, and the Python wheel that carries it.

    python tools/dist.py [--key private.pem] [--out dist] [--url https://…] <file.duckdb_extension> …

writes, from one built extension for each version of DuckDB and platform,

    <out>/repository/.well-known/duckdb-extension-repo.json
    <out>/repository/<version>/<platform>/vss.duckdb_extension.gz
    <out>/duckdb_vss-<version>-py3-none-<platform>.whl

DuckDB trusts whoever holds the private key, an RSA key of 2048 bits as PEM; `openssl genrsa -out private.pem 2048` makes one. The
environment variable KEY_PASSWORD opens a key that is encrypted. Without --key, a key is made for this run and thrown away.
"""

import argparse
import gzip
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
try:
    from auditwheel.architecture import Architecture
    from auditwheel.elfutils import elf_find_versioned_symbols, elf_read_dt_needed
    from auditwheel.libc import Libc
    from auditwheel.policy import WheelPolicies
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
    from elftools.elf.elffile import ELFFile
except ImportError as error:
    sys.exit(f"dist: {error}: python -m pip install -r {ROOT / 'tools/requirements.txt'}, or `make dist`")

#: The end of an extension: eight fields of 32 bytes, then the signature.
FIELDS = 8 * 32
SIGNATURE = 256
#: Bytes that are hashed at a time.
SEGMENT = 1 << 20
#: Processors as DuckDB's platforms name them.
PROCESSORS = {"amd64": "x86_64", "arm64": "aarch64"}


class Refusal(Exception):
    """What was given cannot be packed; the message says why, and what to do."""


class Extension:
    """A built extension: its bytes, and what its footer says of them."""

    def __init__(self, path, in_host=False):
        self.path = path
        try:
            self.bytes = path.read_bytes()
        except OSError as error:
            raise Refusal(f"{path}: {error.strerror}: build it first, by `make static DUCKDB=<version>`") from None
        footer = self.bytes[-FIELDS - SIGNATURE : -SIGNATURE]
        fields = [footer[at : at + 32].rstrip(b"\0") for at in range(0, FIELDS, 32)]
        if len(footer) < FIELDS or fields[7] != b"4" or fields[3] != b"CPP":
            raise Refusal(f"{path} is not an extension of DuckDB: its last 512 bytes are no footer")
        self.version, self.duckdb, self.platform = (field.decode() for field in fields[4:7])
        strange = [library for library in self.libraries() if "/" in library]
        if strange and not in_host:
            raise Refusal(
                f"{path} is an in-host build: it loads only where {strange[0]} is. Release static builds, `make static "
                f"DUCKDB={self.duckdb[1:]}`; --in-host packs it all the same, for tests"
            )

    def libraries(self):
        return elf_read_dt_needed(self.path) if self.is_elf() else []

    def is_elf(self):
        return self.bytes.startswith(b"\x7fELF")

    def signed(self, key):
        """The bytes with a signature: of a hash over the hashes of all segments before it."""
        body = self.bytes[:-SIGNATURE]
        segments = [hashlib.sha256(body[at : at + SEGMENT]).digest() for at in range(0, len(body), SEGMENT)]
        digest = hashlib.sha256(b"".join(segments)).digest()
        return body + key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))

    def symbol_versions(self):
        """The versions of symbols that it needs of the system's libraries: {library: {version}}."""
        with self.path.open("rb") as file:
            needed = {}
            for library, version in elf_find_versioned_symbols(ELFFile(file)):
                needed.setdefault(library, set()).add(version)
            return needed


def read_key(path, password):
    """The private key of a PEM file."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise Refusal(f"the key {path}: {error.strerror}") from None
    wanted = "a private RSA key of 2048 bits in a PEM file is needed: openssl genrsa -out private.pem 2048"
    try:
        key = serialization.load_pem_private_key(pem, password)
    except TypeError:
        if password is None:
            raise Refusal(f"the key {path} is encrypted: KEY_PASSWORD=… opens it") from None
        raise Refusal(f"the key {path} is not encrypted: unset KEY_PASSWORD") from None
    except (ValueError, UnsupportedAlgorithm):
        if password is not None:
            raise Refusal(f"KEY_PASSWORD does not open the key {path}, or it is none; {wanted}") from None
        raise Refusal(f"the key {path} is not a private key in PEM; {wanted}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise Refusal(f"the key {path} is not an RSA key; {wanted}")
    if key.key_size != 2048:
        raise Refusal(f"the key {path} has {key.key_size} bits; {wanted}")
    return key


def public_pem(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def fingerprint(key):
    """The name of a key in `CREATE EXTENSION REPOSITORY` and `duckdb_extensions()`."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return "sha256:" + hashlib.sha256(key.public_key().public_bytes(serialization.Encoding.DER, form)).hexdigest()


def write_repository(folder, extensions, key, url=None):
    """Writes the repository in the layout that DuckDB expects."""
    metadata = {"version": 1, "signature_keys": [public_pem(key)]}
    if url is not None:
        metadata["repository_url"] = url
    well_known = folder / ".well-known/duckdb-extension-repo.json"
    well_known.parent.mkdir(parents=True)
    well_known.write_text(json.dumps(metadata, indent=1) + "\n")
    for extension in extensions:
        file = folder / extension.duckdb / extension.platform / "vss.duckdb_extension.gz"
        file.parent.mkdir(parents=True)
        # no time in it: what is built again is the same to the byte
        file.write_bytes(gzip.compress(extension.signed(key), mtime=0))


def files(folder):
    return sorted(file for file in folder.rglob("*") if file.is_file())


def digest(folder):
    """A hash over all files of a folder and their names."""
    total = hashlib.sha256()
    for file in files(folder):
        total.update(str(file.relative_to(folder)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def wheel_platform(extensions):
    """The tag of the oldest systems on which all of the extensions load: whose libraries have all symbols that they need."""
    platform = extensions[0].platform
    system, _, processor = platform.partition("_")
    if system != "linux" or processor not in PROCESSORS or not all(extension.is_elf() for extension in extensions):
        raise Refusal(f"no tag for a wheel of {platform} is known here: name it, --wheel-platform, or leave the wheel out, --no-wheel")
    policies = WheelPolicies(libc=Libc.GLIBC, arch=Architecture(PROCESSORS[processor]))
    needed = {}
    for extension in extensions:
        for library, versions in extension.symbol_versions().items():
            needed.setdefault(library, set()).update(versions)
    policy = policies.versioned_symbols_policy(needed)
    if policy == policies.linux:
        raise Refusal(f"no manylinux has all symbols that {', '.join(str(extension.path) for extension in extensions)} need")
    return policy.name


def write_wheel(out, extensions, key, platform):
    """Writes the wheel of one platform."""
    with tempfile.TemporaryDirectory() as staging:
        staging = pathlib.Path(staging)
        shutil.copytree(ROOT / "wheel", staging, dirs_exist_ok=True)
        package = staging / "src/duckdb_vss"
        write_repository(package / "repository", extensions, key)
        version = extensions[0].version.removeprefix("v")
        # A name of its own for each content: what an older wheel has installed is never taken for what this one brings.
        name = f"duckdb_vss_{digest(package / 'repository')[:16]}"
        (package / "wheel.json").write_text(json.dumps({"version": version, "repository": name}) + "\n")
        hosts = sorted((extension.duckdb.removeprefix("v") for extension in extensions), key=numbers)
        environment = {
            **os.environ,
            "VSS_VERSION": version,
            "VSS_PLATFORM": platform,
            "VSS_DUCKDB": f"duckdb>={hosts[0]},<={hosts[-1]}",
        }
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*command, "--wheel-dir", out, staging], env=environment, check=True)


def numbers(version):
    return [int(part) for part in version.split(".")]


def check_together(extensions):
    """One version of the extension; one file for each version of DuckDB and platform."""
    seen = {}
    for extension in extensions:
        other = seen.setdefault((extension.duckdb, extension.platform), extension)
        if other is not extension:
            raise Refusal(f"{other.path} and {extension.path} are both for DuckDB {extension.duckdb} on {extension.platform}")
        if extension.version != extensions[0].version:
            first = extensions[0]
            raise Refusal(f"{first.path} is {first.version}, {extension.path} is {extension.version}: build both anew")


def chosen_key(path):
    """The key to sign with, said aloud."""
    if path is None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        print("no key was given, --key or KEY=…: signed with one that is thrown away, good for tests, not for a release", flush=True)
    else:
        password = os.environ.get("KEY_PASSWORD")
        key = read_key(path, password.encode() if password else None)
        print(f"signed with {path}, {fingerprint(key)}", flush=True)
    return key


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="file", help="a built vss.duckdb_extension")
    parser.add_argument("--key", type=pathlib.Path, help="a private RSA key of 2048 bits as PEM; without one, a key is thrown away")
    parser.add_argument("--check", action="store_true", help="only look at the key, before an hour goes into what it is to sign")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("dist"), help="the folder to write; an older repository and older wheels go"
    )
    parser.add_argument("--url", help="where the repository will be served: for `CREATE EXTENSION REPOSITORY <host>`")
    parser.add_argument("--no-wheel", action="store_true", help="the repository only")
    parser.add_argument("--wheel-platform", help="the platform tag of the wheel, without looking at the files")
    parser.add_argument("--in-host", action="store_true", help="also pack builds that load into one installation only, for tests")
    options = parser.parse_args(arguments)

    if options.url is not None and not options.url.startswith("https://"):
        raise Refusal(f"--url {options.url}: DuckDB looks for repositories of hosts at https:// only")
    key = chosen_key(options.key)
    if options.check:
        return
    if not options.files:
        raise Refusal("which files? Name the built vss.duckdb_extension of each version of DuckDB")
    extensions = [Extension(path, options.in_host) for path in options.files]
    check_together(extensions)
    wheels = []
    if not options.no_wheel:
        for platform in sorted({extension.platform for extension in extensions}):
            mine = [extension for extension in extensions if extension.platform == platform]
            wheels.append((mine, options.wheel_platform or wheel_platform(mine)))

    repository = options.out / "repository"
    if repository.exists() and not (repository / ".well-known/duckdb-extension-repo.json").exists():
        raise Refusal(f"{repository} is no repository of extensions, and would be replaced: move it, or name another folder by --out")
    options.out.mkdir(parents=True, exist_ok=True)
    # what is there stays until all that replaces it is
    with tempfile.TemporaryDirectory(dir=options.out) as made:
        made = pathlib.Path(made)
        write_repository(made / "repository", extensions, key, options.url)
        for mine, platform in wheels:
            write_wheel(made, mine, key, platform)
        for old in options.out.glob("duckdb_vss-*.whl"):
            old.unlink()
        if repository.exists():
            shutil.rmtree(repository)
        for new in [made / "repository", *made.glob("duckdb_vss-*.whl")]:
            new.rename(options.out / new.name)
    for file in [*files(options.out / "repository"), *options.out.glob("duckdb_vss-*.whl")]:
        print(f"{file.stat().st_size / (1 << 20):7.2f} MiB  {file}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refusal as refusal:
        sys.exit(f"dist: {refusal}")
