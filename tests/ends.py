"""What a test's reader asks of librdkafka to hear of a partition's end at once.

The end is told with the first fetch that finds nothing, and a broker keeps that one for half a second
by default. A test reads hundreds of times.
"""

ENDS_AT_ONCE = {"enable.partition.eof": True, "fetch.wait.max.ms": 20}
LOOK_S = 0.5
