"""All faults, each a function of a running deployment; the seed decides the rest."""

from __future__ import annotations

import faults_cluster as cluster
import faults_disks as disks
import faults_inputs as inputs
import faults_workers as workers

FAULTS = {
    fault.__name__: fault
    for fault in (
        workers.kill,
        workers.kill_at_point,
        workers.kill_for_good,
        workers.terminate,
        workers.freeze,
        workers.freeze_in_commit,
        workers.scale,
        workers.clock_ahead,
        workers.clock_behind,
        disks.empty_disk,
        disks.flipped_byte,
        disks.truncated_file,
        disks.deleted_file,
        disks.disk_full,
        cluster.broker_restart,
        cluster.broker_kill,
        cluster.broker_outage,
        cluster.registry_down,
        inputs.poison,
        inputs.disorder,
        inputs.hot_key,
        inputs.oversize,
        inputs.catalogs,
        inputs.deadly_record,
        inputs.deadly_timer,
    )
}
WEIGHTS = {"kill": 6, "kill_at_point": 8, "empty_disk": 3}
"""Of what is quick to do there is more; all else counts once."""
KILLS = frozenset({"kill", "kill_at_point", "kill_for_good", "empty_disk"})
"""Each of them is a kill -9."""
OF_THE_BROKER = frozenset({"broker_restart", "broker_kill", "broker_outage"})
"""Strike every deployment on the broker."""
SLOW = frozenset({"broker_outage", "deadly_record", "deadly_timer", "kill_for_good", "scale"})
"""Take a minute or so: not for the five of a test run."""
