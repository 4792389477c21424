/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control RUN launch PROGRAM N		launches a cluster of one vat N times: from the request until the answer, which
 *					comes after startVat and bootstrap were done and committed. PROGRAM is a path, or
 *					sha256:HEX for one that the kernel has kept from an earlier launch
 * control RUN restart VAT ROOT N	restarts a vat N times: from the request until a call to its root is answered
 *
 * A client of the control socket with its own clock, so that no process of the command is started in between. Prints the
 * nanoseconds of each.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tools/client.h"
#include "clock.h"

static json_t *call(struct client *c, const char *method, json_t *params, const int *fd)
{
	json_t *result = NULL;

	if (client_call(c, method, params, fd, fd ? 1 : 0, -1, &result) != OUTPUT_OK)
		exit(1);	/* it has said why */
	return result;
}

static void launch(struct client *c, const char *program)
{
	bool known = !strncmp(program, "sha256:", 7);
	int fd = known ? -1 : open(program, O_RDONLY | O_CLOEXEC);
	json_t *params = json_pack("{s:{s:s, s:{s:{s:s}}}, s:[]}", "config", "bootstrap", "it", "vats", "it",
				   "program", program, "paths"), *result;
	int64_t began = now_ns(), took;

	if (!known && fd < 0) {
		perror(program);
		exit(1);
	}
	if (!known)
		json_array_append_new(json_object_get(params, "paths"), json_string(program));
	result = call(c, "launchSubcluster", params, known ? NULL : &fd);
	took = now_ns() - began;
	if (!known)
		close(fd);
	params = json_pack("{s:O}", "id", json_object_get(result, "subclusterId"));
	json_decref(call(c, "terminateSubcluster", params, NULL));
	json_decref(result);
	printf("%lld\n", (long long)took);
}

static void restart(struct client *c, const char *vat, const char *root)
{
	int64_t began = now_ns();

	json_decref(call(c, "restartVat", json_pack("{s:s}", "id", vat), NULL));
	json_decref(call(c, "queueMessage", json_pack("{s:s, s:s, s:[]}", "target", root, "method", "ping", "args"),
			 NULL));
	printf("%lld\n", (long long)(now_ns() - began));
}

int main(int argc, char **argv)
{
	bool launches = argc == 5 && !strcmp(argv[2], "launch"), restarts = argc == 6 && !strcmp(argv[2], "restart");
	struct client c = CLIENT_INIT;

	if (!launches && !restarts) {
		fprintf(stderr, "usage: control RUN launch PROGRAM N | control RUN restart VAT ROOT N\n");
		return 2;
	}
	if (client_open(&c, argv[1]) != OUTPUT_OK)
		return 1;
	for (long n = atol(argv[argc - 1]); n > 0; n--) {
		if (launches)
			launch(&c, argv[3]);
		else
			restart(&c, argv[3], argv[4]);
	}
	client_close(&c);
	return 0;
}
