"""What only the packed extensions know: the wheel's version, the DuckDB it needs, its tag."""

import os

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class MetadataHook(MetadataHookInterface):
    def update(self, metadata):
        metadata["version"] = os.environ["VSS_VERSION"]
        metadata["dependencies"] = [os.environ["VSS_DUCKDB"]]


class BuildHook(BuildHookInterface):
    def initialize(self, version, build_data):
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{os.environ['VSS_PLATFORM']}"
