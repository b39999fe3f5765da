"""What is released: the signed repository, and the wheel in a fresh environment, as a stranger would use them."""

import fcntl
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import time
import tomllib
import zipfile

import duckdb
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = duckdb.execute("SELECT library_version FROM pragma_version()").fetchone()[0]
PLATFORM = duckdb.execute("SELECT platform FROM pragma_platform()").fetchone()[0]
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]

#: Where the fields of the footer begin, from the end of the file.
EXTENSION_VERSION, DUCKDB_VERSION, PLATFORM_FIELD, UNUSED = -384, -352, -320, -512
SEARCH = """
con.execute("CREATE TABLE t AS SELECT i AS id, [i, 0]::FLOAT[2] AS v FROM range(10_000) r(i)")
con.execute("CREATE INDEX x ON t USING HNSW (v)")
near = "FROM t ORDER BY array_distance(v, [41.4, 0]::FLOAT[2]) LIMIT 3"
assert con.execute("SELECT id " + near).fetchall() == [(41,), (42,), (40,)]
assert "HNSW" in con.execute("EXPLAIN " + near).fetchone()[1].upper()
"""


@pytest.fixture(scope="module")
def dist_python(request):
    return request.config.getoption("--dist-python")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dist")


@pytest.fixture(scope="module")
def keys(dist_python, folder):
    """Private keys, one a file: right ones, and others."""
    script = """
    import pathlib, sys
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    def write(name, key, encryption=serialization.NoEncryption()):
        form = serialization.PrivateFormat.PKCS8
        path = pathlib.Path(sys.argv[1], name + ".pem")
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))

    ours = rsa.generate_private_key(65537, 2048)
    write("ours", ours)
    write("encrypted", ours, serialization.BestAvailableEncryption(b"secret"))
    write("other", rsa.generate_private_key(65537, 2048))
    write("long", rsa.generate_private_key(65537, 3072))
    write("elliptic", ec.generate_private_key(ec.SECP256R1()))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pathlib.Path(sys.argv[1], "public.pem").write_bytes(ours.public_key().public_bytes(serialization.Encoding.PEM, form))
    """
    (folder / "keys").mkdir()
    subprocess.run([dist_python, "-c", textwrap.dedent(script), folder / "keys"], check=True)
    return folder / "keys"


@pytest.fixture(scope="module")
def pack(dist_python):
    """Runs the packer; returns what it said. With `refused`, it must refuse."""

    def pack(out, *arguments, refused=False, **environment):
        command = [dist_python, ROOT / "tools/dist.py", "--out", out, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
        assert (done.returncode == 0) != refused, done.stdout + done.stderr
        return done.stderr if refused else done.stdout

    return pack


@pytest.fixture(scope="module")
def dist(extension, folder, keys, pack):
    """A release: `dist/repository` and the wheel."""
    pack(folder / "dist", "--in-host", "--key", keys / "ours.pem", extension)
    return folder / "dist"


def wheel_of(dist):
    (wheel,) = dist.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment, fresh but for the host's DuckDB: an in-host build loads only with that."""

    def __init__(self, path, wheel, *options):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
        self.path = path
        self.python = path / "bin/python"
        (packages,) = path.glob("lib/python3*/site-packages")
        (packages / "host.pth").write_text(str(pathlib.Path(duckdb.__file__).parents[1]))
        self.install(wheel, *options)

    def install(self, wheel, *options):
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-index"]
        subprocess.run([*pip, *options, wheel], check=True)

    def start(self, script, home, *arguments):
        program = "import duckdb, duckdb_vss, os, pathlib, sys\n" + textwrap.dedent(script)
        # what the tests run with is none of a stranger's business
        environment = {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "HOME": str(home)}
        command = [self.python, "-c", program, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def run(self, script, home, *arguments):
        process = self.start(script, home, *arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err[-3000:]
        return out


@pytest.fixture(scope="module")
def fresh(dist, folder):
    return Environment(folder / "fresh", wheel_of(dist))


@pytest.fixture
def home(tmp_path):
    path = tmp_path / "home"
    path.mkdir()
    return path


def changed(source, target, at, text):
    """A copy of an extension with a field of its footer changed."""
    content = bytearray(pathlib.Path(source).read_bytes())
    field = slice(len(content) + at, len(content) + at + 32)
    content[field] = text.encode().ljust(32, b"\0")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def files(path):
    return sorted(path.rglob("vss.duckdb_extension"))


# The wheel


def test_the_readme_of_the_wheel_runs_in_a_fresh_environment(fresh, home):
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "wheel/README.md").read_text(), re.S)
    checks = """
    assert con.execute("SELECT current_setting('allow_unsigned_extensions')").fetchone() == (False,)
    assert "HNSW" in con.execute("EXPLAIN " + query, [[0.6, 0.8]]).fetchone()[1].upper()
    exact = con.execute("SET disabled_optimizers = 'extension,late_materialization'").execute(query, [[0.6, 0.8]]).fetchall()
    print(exact)
    """
    # a progress bar may come between
    found, exact = [line for line in fresh.run(script + textwrap.dedent(checks), home).splitlines() if line.startswith("[")]
    assert found == exact and found.count("(") == 3


def test_duckdb_shows_the_version(fresh, home):
    script = """
    con = duckdb_vss.load(duckdb.connect())
    query = "SELECT extension_version FROM duckdb_extensions() WHERE extension_name = 'vss' AND loaded"
    print(con.execute(query).fetchall(), duckdb_vss.__version__)
    """
    assert fresh.run(script, home) == f"[('v{VERSION}',)] {VERSION}\n"


def test_no_setting_changes(fresh, home):
    fresh.run(
        """
        def settings():
            return dict(con.execute("SELECT name, value FROM duckdb_settings() WHERE name NOT LIKE 'hnsw%'").fetchall())

        con = duckdb.connect()
        before = settings()
        duckdb_vss.load(con)
        assert settings() == before
        """,
        home,
    )


def test_a_later_session_installs_nothing(fresh, home):
    fresh.run("duckdb_vss.connect()", home)
    (file,) = files(home)
    before = file.stat()
    fresh.run("duckdb_vss.connect()", home)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_default_connection_and_a_database_that_others_use(fresh, home):
    fresh.run("assert duckdb_vss.load() is duckdb.default_connection(); con = duckdb" + SEARCH, home)
    script = "first = duckdb.connect(); duckdb_vss.load(first.cursor()); con = first" + SEARCH
    fresh.run(script, home)


def test_a_transaction_goes_on(fresh, home):
    begin = "con = duckdb.connect(); con.begin(); con.execute('CREATE TABLE mine (i INT)'); duckdb_vss.load(con)"
    fresh.run(begin + SEARCH + "con.commit(); con.execute('FROM mine')", home)


def test_a_locked_configuration_is_no_obstacle(fresh, home):
    fresh.run("con = duckdb.connect(config={'lock_configuration': 'true'}); duckdb_vss.load(con)" + SEARCH, home)


FORBIDDING = [
    ({"allow_extension_repositories": "forbidden"}, "allow_extension_repositories is 'forbidden'"),
    ({"enable_external_access": "false"}, "enable_external_access is false"),
]
if HOST != "v2.0.0":
    FORBIDDING.append(({"allow_extension_repositories": "hosts_only"}, "allow_extension_repositories is 'hosts_only'"))


@pytest.mark.parametrize("config, words", FORBIDDING)
@pytest.mark.parametrize("installed", [False, True])
def test_a_database_that_forbids_it_says_so(fresh, home, config, words, installed):
    if installed:
        fresh.run("duckdb_vss.connect()", home)
    script = """
    try:
        duckdb_vss.connect(config={config})
    except duckdb_vss.NotAllowed as error:
        print(error)
    """
    assert words in fresh.run(script.replace("{config}", repr(config)), home)
    assert len(files(home)) == installed


@pytest.mark.parametrize("setting", ["HOME", "extension_directory", "extension_repository_directory"])
def test_where_nothing_can_be_written_it_says_what_to_do(fresh, home, tmp_path, setting):
    blocked = tmp_path / "file"
    blocked.touch()
    config = {} if setting == "HOME" else {setting: f"{blocked}/folder"}
    script = """
    try:
        duckdb_vss.connect(config={config})
    except duckdb_vss.NotWritable as error:
        print(error)
    """
    said = fresh.run(script.replace("{config}", repr(config)), blocked if setting == "HOME" else home)
    assert str(blocked) in said and "duckdb_vss.connect(…, directory='…')" in said
    if setting == "HOME":
        fresh.run("con = duckdb_vss.connect(directory=sys.argv[1])" + SEARCH, blocked, str(tmp_path / "elsewhere"))
        (file,) = files(tmp_path / "elsewhere")


def test_the_folders_of_the_database_are_used(fresh, home, tmp_path):
    script = """
    config = {"extension_directories": [sys.argv[1] + "/a", sys.argv[1] + "/b"]}
    config["extension_repository_directory"] = sys.argv[1] + "/keys"
    con = duckdb_vss.connect(config=config)
    """
    fresh.run(textwrap.dedent(script) + SEARCH, home, str(tmp_path))
    assert len(files(tmp_path / "a")) == 1 and list(home.iterdir()) == []


def test_of_processes_that_load_at_once_one_installs(fresh, home):
    """All of them wait behind this one first."""
    keys_folder = home / ".duckdb/extension_repositories"
    keys_folder.mkdir(parents=True)
    handle = os.open(keys_folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    processes = [fresh.start("con = duckdb_vss.connect()" + SEARCH, home) for _ in range(4)]
    try:
        waiting = {str(process.pid) for process in processes}
        patience = time.monotonic() + 120
        while waiting:
            assert time.monotonic() < patience, waiting
            time.sleep(0.01)
            assert all(process.poll() is None for process in processes), [process.communicate() for process in processes]
            waiting -= set(re.findall(r"-> FLOCK +ADVISORY +WRITE +(\d+)", pathlib.Path("/proc/locks").read_text()))
        assert files(home) == []
    finally:
        os.close(handle)
        results = [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
    assert results == [("", 0)] * 4
    assert len(files(home)) == 1
    assert [path.name for path in keys_folder.iterdir() if ".tmp" in path.name] == []


def test_a_vss_of_another_origin_is_no_obstacle(fresh, home, extension, tmp_path):
    """What `INSTALL vss` of the official one leaves behind."""
    for name in ("official", "another"):
        target = tmp_path / name / HOST / PLATFORM / "vss.duckdb_extension"
        changed(extension, target, EXTENSION_VERSION, "v9.9.9")
    script = """
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.execute(f"INSTALL vss FROM '{sys.argv[1]}/official'")
    try:
        con.execute(f"INSTALL vss FROM '{sys.argv[1]}/another'")
    except duckdb.InvalidInputException as error:
        print(error)
    """
    assert "already installed but the origin is different" in fresh.run(script, home, str(tmp_path))
    fresh.run("con = duckdb_vss.connect()" + SEARCH, home)
    script = """
    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    con.execute("LOAD vss")
    try:
        duckdb_vss.load(con)
    except duckdb_vss.AlreadyLoaded as error:
        print(error)
    """
    said = fresh.run(script, home)
    assert "v9.9.9" in said and VERSION in said and "without LOAD vss" in said


@pytest.mark.parametrize("field, text, version", [(EXTENSION_VERSION, "v0.1.9", "0.1.9"), (UNUSED, "an older build", VERSION)])
def test_a_newer_wheel_brings_its_own_file(dist, extension, home, keys, pack, tmp_path, field, text, version):
    older = changed(extension, tmp_path / "older.duckdb_extension", field, text)
    pack(tmp_path / "dist", "--in-host", "--key", keys / "ours.pem", older)
    environment = Environment(tmp_path / "environment", wheel_of(tmp_path / "dist"))
    script = """
    con = duckdb_vss.connect()
    maps = pathlib.Path("/proc/self/maps").read_text()
    print(duckdb_vss.__version__, {line.split()[-1] for line in maps.splitlines() if "vss.duckdb_extension" in line}.pop())
    """
    said, before = environment.run(script, home).split()
    assert said == version and text.encode() in pathlib.Path(before).read_bytes()
    environment.install(wheel_of(dist), "--force-reinstall", "--no-deps")
    said, after = environment.run(script, home).split()
    assert said == VERSION and text.encode() not in pathlib.Path(after).read_bytes()
    assert before != after


def test_a_key_from_an_environment_that_is_gone_is_read_anew(dist, fresh, home, tmp_path):
    first = Environment(tmp_path / "first", wheel_of(dist))
    first.run("duckdb_vss.connect()", home)
    shutil.rmtree(first.path)
    shutil.rmtree(home / ".duckdb/extensions")
    fresh.run("con = duckdb_vss.connect()" + SEARCH, home)


@pytest.mark.parametrize(
    "field, text, held",
    [(DUCKDB_VERSION, "v1.9.9", f"v1.9.9 on {PLATFORM}"), (PLATFORM_FIELD, "linux_s390x", f"{HOST} on linux_s390x")],
)
def test_without_a_file_for_the_host_it_says_which_there_are(extension, home, keys, pack, tmp_path, field, text, held):
    other = changed(extension, tmp_path / "other.duckdb_extension", field, text)
    pack(tmp_path / "dist", "--in-host", "--key", keys / "ours.pem", "--wheel-platform", "any", other)
    environment = Environment(tmp_path / "environment", wheel_of(tmp_path / "dist"), "--no-deps")
    script = """
    try:
        duckdb_vss.connect()
    except duckdb_vss.NotSupported as error:
        print(error)
    """
    said = environment.run(script, home)
    assert f"no file for DuckDB {HOST} on {PLATFORM}, only for {held}" in said
    assert list(home.iterdir()) == []


def test_the_wheel_says_what_it_needs(extension, keys, pack, tmp_path):
    other = changed(extension, tmp_path / "other.duckdb_extension", DUCKDB_VERSION, "v2.0.10")
    pack(tmp_path / "dist", "--in-host", "--key", keys / "ours.pem", other, extension)
    wheel = wheel_of(tmp_path / "dist")
    assert re.fullmatch(rf"duckdb_vss-{re.escape(VERSION)}-py3-none-manylinux_2_\d+_x86_64.whl", wheel.name), wheel.name
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"duckdb_vss-{VERSION}.dist-info/METADATA").decode()
        assert b"Root-Is-Purelib: false" in archive.read(f"duckdb_vss-{VERSION}.dist-info/WHEEL")
        held = {name for name in archive.namelist() if name.endswith(".gz")}
        assert "duckdb_vss/shards/__init__.py" in archive.namelist()
    assert held == {f"duckdb_vss/repository/{host}/{PLATFORM}/vss.duckdb_extension.gz" for host in (HOST, "v2.0.10")}
    needs, *more = re.findall("Requires-Dist: (.*)", metadata)
    assert set(needs.removeprefix("duckdb").split(",")) == {f">={HOST[1:]}", "<=2.0.10"}
    assert {name.split(";")[1].strip() for name in more} == {"extra == 'ray'"}


# The repository


#: Registers, installs, loads; the first statement that fails says so.
REGISTER = """
con = duckdb.connect(config={"allow_extension_repositories": "allowed"})
try:
    con.execute(f"CREATE EXTENSION REPOSITORY mine WITH PREFIX '{sys.argv[1]}'")
    con.execute("INSTALL vss FROM mine")
    con.execute("LOAD vss FROM mine")
except duckdb.Error as error:
    print(error)
"""


@pytest.mark.parametrize("zipped", [True, False])
def test_the_repository_installs_and_loads_by_sql(dist, fresh, home, tmp_path, zipped):
    repository = tmp_path / "repository"
    shutil.copytree(dist / "repository", repository)
    if not zipped:
        change(repository, lambda content: content, plain=True)
    assert fresh.run(REGISTER + SEARCH, home, str(repository)) == ""
    # a later session needs no setting
    fresh.run("con = duckdb.connect(); con.execute('LOAD vss FROM mine')" + SEARCH, home)


def change(repository, edit, zipped=False, plain=False):
    """Edits the bytes of the extension, or those of the compressed file."""
    (file,) = repository.rglob("vss.duckdb_extension.gz")
    content = bytearray(file.read_bytes() if zipped else gzip.decompress(file.read_bytes()))
    content = bytes(edit(content))
    if plain:
        file.unlink()
        file = file.with_suffix("")
    file.write_bytes(content if zipped or plain else gzip.compress(content))


def flipped(at):
    def edit(content):
        content[at] ^= 1
        return content

    return edit


UNSIGNED = "doesn't have a valid signature"
UNREADABLE = f"{UNSIGNED}|Failed to uncompress"


@pytest.mark.parametrize(
    "edit, options, words",
    [
        (flipped(5_000), {}, UNSIGNED),
        (flipped(1_100_000), {}, UNSIGNED),
        (flipped(-5), {}, UNSIGNED),
        (flipped(EXTENSION_VERSION + 1), {}, UNSIGNED),
        (flipped(UNUSED), {}, UNSIGNED),
        (flipped(PLATFORM_FIELD), {}, "built for the platform"),
        (flipped(300_000), {"zipped": True}, UNREADABLE),
        (lambda content: content[:-1_000], {"zipped": True}, "Failed to uncompress"),
        (lambda content: content[:-1], {}, "is not a DuckDB extension"),
        (lambda content: content[:-256] + bytes(256), {"plain": True}, UNSIGNED),
    ],
    ids=["body", "second segment", "signature", "version", "unused field", "platform", "gz", "cut gz", "cut", "no signature"],
)
def test_a_file_that_was_changed_is_refused(dist, fresh, home, tmp_path, edit, options, words):
    repository = tmp_path / "repository"
    shutil.copytree(dist / "repository", repository)
    change(repository, edit, **options)
    assert re.search(words, fresh.run(REGISTER, home, str(repository)))
    assert files(home) == []


def test_a_file_that_was_changed_after_it_was_installed_is_refused(fresh, home):
    fresh.run("duckdb_vss.connect()", home)
    (file,) = files(home)
    file.write_bytes(bytes(flipped(5_000)(bytearray(file.read_bytes()))))
    script = """
    try:
        duckdb_vss.connect()
    except duckdb.IOException as error:
        print(error)
    """
    assert "signature is either missing or invalid" in fresh.run(script, home)


def test_another_key_is_refused(dist, fresh, home, keys, extension, pack, tmp_path):
    pack(tmp_path / "dist", "--in-host", "--no-wheel", "--key", keys / "other.pem", extension)
    well_known = ".well-known/duckdb-extension-repo.json"
    shutil.copy(dist / "repository" / well_known, tmp_path / "dist/repository" / well_known)
    assert UNSIGNED in fresh.run(REGISTER, home, str(tmp_path / "dist/repository"))


def test_a_version_that_is_missing_is_refused(dist, fresh, home, tmp_path):
    repository = tmp_path / "repository"
    shutil.copytree(dist / "repository", repository)
    shutil.rmtree(repository / HOST)
    said = fresh.run(REGISTER, home, str(repository))
    assert "no access to the file" in said and f"{HOST}/{PLATFORM}" in said


def test_without_its_name_nothing_is_loaded(fresh, home):
    """A repository's key holds for LOAD … FROM it, and for nothing else."""
    fresh.run("duckdb_vss.connect()", home)
    script = """
    try:
        duckdb.connect().execute("LOAD vss")
    except duckdb.IOException as error:
        print(error)
    """
    assert "not found" in fresh.run(script, home)


# The packer


def test_a_key_that_is_thrown_away_is_said_aloud(extension, pack, tmp_path):
    said = pack(tmp_path / "dist", "--in-host", "--no-wheel", extension)
    assert "no key was given" in said and "thrown away" in said and "not for a release" in said
    assert said.startswith(pack(tmp_path / "none", "--check"))
    assert not (tmp_path / "none").exists()


def test_the_fingerprint_is_the_one_that_duckdb_shows(dist, extension, fresh, home, keys, pack, tmp_path):
    said = pack(tmp_path / "dist", "--in-host", "--no-wheel", "--key", keys / "ours.pem", extension)
    script = """
    con = duckdb.connect(config={"allow_extension_repositories": "allowed"})
    print(con.execute(f"CREATE EXTENSION REPOSITORY mine WITH PREFIX '{sys.argv[1]}'").fetchone()[2][0])
    """
    (fingerprint,) = re.findall("sha256:[0-9a-f]{64}", said)
    assert fresh.run(script, home, str(tmp_path / "dist/repository")) == fingerprint + "\n"


def test_the_same_key_signs_the_same_bytes(dist, extension, keys, pack, tmp_path):
    pack(tmp_path / "dist", "--in-host", "--key", keys / "encrypted.pem", extension, KEY_PASSWORD="secret")
    for file in ["repository/.well-known/duckdb-extension-repo.json", f"repository/{HOST}/{PLATFORM}/vss.duckdb_extension.gz"]:
        assert (tmp_path / "dist" / file).read_bytes() == (dist / file).read_bytes()
    assert wheel_of(tmp_path / "dist").read_bytes() == wheel_of(dist).read_bytes()


@pytest.mark.parametrize(
    "name, password, words",
    [
        ("absent", "", "No such file"),
        ("public", "", "is not a private key in PEM"),
        ("elliptic", "", "is not an RSA key"),
        ("long", "", "has 3072 bits"),
        ("encrypted", "", "is encrypted: KEY_PASSWORD=… opens it"),
        ("encrypted", "wrong", "KEY_PASSWORD does not open the key"),
        ("ours", "secret", "is not encrypted: unset KEY_PASSWORD"),
    ],
)
def test_what_is_no_key_is_refused(extension, keys, pack, tmp_path, name, password, words):
    for arguments in (["--check"], ["--in-host", extension]):
        said = pack(tmp_path / "dist", "--key", keys / f"{name}.pem", *arguments, refused=True, KEY_PASSWORD=password)
        assert words in said and f"{name}.pem" in said
    assert not (tmp_path / "dist").exists()


def test_what_cannot_be_released_is_refused(extension, pack, tmp_path):
    out = tmp_path / "dist"
    assert "is an in-host build" in pack(out, extension, refused=True)
    assert "is not an extension of DuckDB" in pack(out, pathlib.Path(__file__), refused=True)
    assert "make static DUCKDB=" in pack(out, tmp_path / "absent.duckdb_extension", refused=True)
    other = changed(extension, tmp_path / "other.duckdb_extension", UNUSED, "another")
    assert f"are both for DuckDB {HOST} on {PLATFORM}" in pack(out, "--in-host", extension, other, refused=True)
    changed(extension, other, DUCKDB_VERSION, "v2.0.9")
    changed(other, other, EXTENSION_VERSION, "v0.1.9")
    assert "build both anew" in pack(out, "--in-host", extension, other, refused=True)
    assert "https:// only" in pack(out, "--in-host", "--url", "http://example.org", extension, refused=True)
    assert not out.exists()


def test_an_older_release_makes_room(extension, pack, tmp_path):
    """And nothing else in the folder does."""
    out = tmp_path / "dist"
    (out / "repository/v1.0.0").mkdir(parents=True)
    assert "is no repository of extensions" in pack(out, "--in-host", extension, refused=True)
    assert (out / "repository/v1.0.0").exists(), "a folder of somebody else's stays"
    (out / "repository/.well-known").mkdir()
    (out / "repository/.well-known/duckdb-extension-repo.json").touch()
    (out / "duckdb_vss-0.0.1-py3-none-any.whl").touch()
    (out / "notes.txt").touch()
    pack(out, "--in-host", "--url", "https://example.org/duckdb", extension)
    assert sorted(path.name for path in out.iterdir()) == sorted(["notes.txt", "repository", wheel_of(out).name])
    assert sorted(path.name for path in (out / "repository").iterdir()) == [".well-known", HOST]
    metadata = json.loads((out / "repository/.well-known/duckdb-extension-repo.json").read_text())
    assert metadata["repository_url"] == "https://example.org/duckdb" and metadata["version"] == 1
