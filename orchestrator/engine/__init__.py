"""Runs stages: one partition, one log, one state, one transaction.

How to read this package, from the inside out:

======================  =====================================================================
``ports``               what the core needs from outside, as protocols; chunks and snapshots
``meta``                the last record of every transaction, and the checks that it allows
``timers``, ``clock``   when a timer fires (the log decides), when to tick (an estimate)
``states``              the decoded write-back cache over the store
``catalogs``            which catalogs a partition's log has brought, and the sweep that follows
``marks``, ``holding``  at which record a worker died; a partition that waits for an operator
``outputs``             what leaves a stage, as bytes: emits and dead letters
``processor``           one stage on one partition: records, timers, sweeps -> states and outputs
``task``                the processor's queue, position, log time and snapshots
``store``, ``changelog``  RocksDB and Kafka behind the ports; ``replay`` brings them together
``engine``              opens, runs, suspends and closes tasks; ``ticks``, ``watchdog`` beside it
``simulated``           a log, a changelog and a store in memory: the core without Kafka
``faust_seams``, ``faust_tables``, ``host``  the only modules that know Faust
======================  =====================================================================
"""
