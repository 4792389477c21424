# SPDX-License-Identifier: Apache-2.0
# The other end of a round trip, as Cap'n Proto's schema language has it (tests/bench/pong.c is ours).
@0xc6a1f3d27be58904;

interface Pong {
	ping @0 () -> (n :Int64);
	next @1 () -> (next :Pong);	# an object to send the next link of a chain to
}
