"""A worker of the real stages under a fixed catalog, mortal like ``chaos_worker``."""

from __future__ import annotations

import os

from chaos_worker import Points

from orchestrator.codec.opening import open_codec
from orchestrator.engine.assembly import build_app
from orchestrator.engine.host import die, serve
from orchestrator.kafka.topics import Topology
from orchestrator.observability import configure_logging
from orchestrator.records import CatalogSwitch
from orchestrator.settings import load_settings
from orchestrator.stages.catalog import Catalog, Identities, Trait
from orchestrator.stages.decide import Decide
from orchestrator.stages.identify import Identify


def catalog(switch: CatalogSwitch) -> Catalog:
    """Every event counts, and whoever is seen together is one customer."""
    return Catalog(
        hash=switch.catalog,
        identities=Identities(
            primary="id", also=("email", "anonymous_id"), join_limit=99, merge_known=True
        ),
        traits={"seen": Trait(name="seen", kind="count", type="long", on=("page.viewed",))},
        traits_by_event={"page.viewed": ("seen",)},
    )


def main() -> None:
    settings = load_settings()
    configure_logging(settings)
    codec = open_codec(settings)
    codec.prepare({spec.name: spec.logical for spec in Topology(settings).specs()})
    points = Points(os.environ.get("CHAOS_ARM", ""))
    stages = (Identify(settings.app.id), Decide())
    serve(lambda: build_app(settings, stages, codec, catalog, on_fatal=die, on_point=points))


if __name__ == "__main__":
    main()
