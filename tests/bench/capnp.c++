// SPDX-License-Identifier: Apache-2.0
/*
 * capnp ROUNDS DEPTH [pipelined|awaited]: what `make bench` stands next to. Two processes that speak Cap'n Proto RPC
 * over a Unix stream socket pair; the client sends DEPTH calls, waits until all are answered, and does so ROUNDS times.
 * With a third word a round is a chain of DEPTH links, each called on the answer of the one before: sent at once,
 * or each when that answer is here. Prints the nanoseconds of all rounds.
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include <capnp/message.h>
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/vector.h>

#include "clock.h"
#include "pong.capnp.h"

namespace {

class PongServer final : public Pong::Server {
	int64_t n = 0;
	kj::Promise<void> ping(PingContext context) override
	{
		context.getResults().setN(++n);
		return kj::READY_NOW;
	}
	kj::Promise<void> next(NextContext context) override
	{
		context.getResults().setNext(thisCap());
		return kj::READY_NOW;
	}
};

kj::Own<kj::AsyncIoStream> wrap(kj::AsyncIoContext &io, int fd)
{
	return io.lowLevelProvider->wrapSocketFd(fd, kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP);
}

void serve(int fd)
{
	auto io = kj::setupAsyncIo();
	auto stream = wrap(io, fd);
	capnp::TwoPartyVatNetwork network(*stream, capnp::rpc::twoparty::Side::SERVER);
	auto rpc = capnp::makeRpcServer(network, kj::heap<PongServer>());

	network.onDisconnect().wait(io.waitScope);
}

void round_trips(Pong::Client &pong, kj::WaitScope &scope, long depth)
{
	kj::Vector<kj::Promise<void>> answers(depth);

	for (long i = 0; i < depth; i++)
		answers.add(pong.pingRequest().send().ignoreResult());
	for (auto &answer : answers)
		answer.wait(scope);
}

/* Held until the end of the chain, as our vat holds its promises to the end of its crank. */
void pipelined(Pong::Client &pong, kj::WaitScope &scope, long links)
{
	kj::Vector<capnp::RemotePromise<Pong::NextResults>> answers(links);
	Pong::Client at = pong;

	for (long i = 0; i < links; i++) {
		answers.add(at.nextRequest().send());
		at = answers.back().getNext();
	}
	answers.back().wait(scope);
}

void awaited(Pong::Client &pong, kj::WaitScope &scope, long links)
{
	Pong::Client at = pong;

	for (long i = 0; i < links; i++)
		at = at.nextRequest().send().wait(scope).getNext();
}

int64_t measure(int fd, long rounds, void (*one_round)(Pong::Client &, kj::WaitScope &, long), long depth)
{
	auto io = kj::setupAsyncIo();
	auto stream = wrap(io, fd);
	capnp::TwoPartyVatNetwork network(*stream, capnp::rpc::twoparty::Side::CLIENT);
	auto rpc = capnp::makeRpcClient(network);
	capnp::MallocMessageBuilder message;
	auto server = message.initRoot<capnp::rpc::twoparty::VatId>();
	int64_t began;

	server.setSide(capnp::rpc::twoparty::Side::SERVER);
	auto pong = rpc.bootstrap(server).castAs<Pong>();
	pong.pingRequest().send().wait(io.waitScope);
	one_round(pong, io.waitScope, depth);	/* both run */
	began = now_ns();
	for (long i = 0; i < rounds; i++)
		one_round(pong, io.waitScope, depth);
	return now_ns() - began;
}

}

int main(int argc, char **argv)
{
	std::string mode = argc == 4 ? argv[3] : "";
	long rounds = argc > 2 ? atol(argv[1]) : 0, depth = argc > 2 ? atol(argv[2]) : 0;
	int pair[2];
	pid_t pid;

	if (argc > 4 || rounds < 1 || depth < 1 || (argc == 4 && mode != "pipelined" && mode != "awaited")) {
		fprintf(stderr, "usage: capnp ROUNDS DEPTH [pipelined|awaited]\n");
		return 2;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || (pid = fork()) < 0) {
		perror("capnp");
		return 1;
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		serve(pair[1]);
		_exit(0);
	}
	close(pair[1]);
	printf("%lld\n", (long long)measure(pair[0], rounds,
		mode == "pipelined" ? pipelined : mode == "awaited" ? awaited : round_trips, depth));
	waitpid(pid, nullptr, 0);
	return 0;
}
