"""Python imports this at its start if the folder is on `PYTHONPATH`: it adds the toy framework to the registry."""

from ganzoo_core.frameworks import FRAMEWORKS, Framework

FRAMEWORKS["toy"] = Framework(
    name="toy",
    title="Toy",
    suffix="toy",
    network_class="toy.Network",
    modules=("toy",),
    distributions=("toy",),
    requirement="toy-engine",
    engine="toy_engine",
    contract="toy_contract",
)
