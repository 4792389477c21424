/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bootstrap vat of a system subcluster, for the tests: it has kernelFacet. `work` launches a counter by the hash of its program, calls
 * it and ends it; any other message is handed on to the kernel as it is.
 */
#include <capstan/vat.h>

typedef struct { vat_ref *kernel; char *id; int64_t n; } steward;

VAT_METHOD(steward, bootstrap)
{
	vat_read(v, "v{kernelFacet:r}", NULL, &self->kernel);
	return vat_return(v, "r", vat_self(v));
}

VAT_METHOD(steward, work)
{
	const char *program;
	vat_read(v, "s", &program);
	vat_ref *launch = E(v, self->kernel, "launchSubcluster", "{bootstrap:s,vats:{it:{program:s}}}", "it", program);
	return vat_return(v, "r", vat_then(v, launch, self, "launched", NULL));
}

VAT_METHOD(steward, launched)
{
	const char *id;
	vat_ref *root;
	vat_read(v, "{root:r,subclusterId:s}", &root, &id);
	vat_set_string(v, &self->id, id);
	return vat_return(v, "r", vat_then(v, E(v, root, "increment", "i", (int64_t)5), self, "counted", NULL));
}

VAT_METHOD(steward, counted)
{
	vat_read(v, "i", &self->n);
	return vat_return(v, "r", vat_then(v, E(v, self->kernel, "terminateSubcluster", "s", self->id), self, "ended", NULL));
}

VAT_METHOD(steward, ended)
{
	return vat_return(v, "i", self->n);
}

VAT_METHOD(steward, forward)
{
	return vat_return(v, "r", vat_call_with(v, self->kernel, vat_method_name(v), vat_args(v)));
}

static const vat_kind Steward = { "Steward", sizeof(steward), VAT_ANY(forward),
	VAT_STATE(VAT_REF(steward, kernel), VAT_STR(steward, id), VAT_I64(steward, n)),
	VAT_METHODS({ "bootstrap", NULL, "r", bootstrap }, { "work", "s", "r", work }),
	VAT_CONTINUATIONS({ "launched", NULL, "r", launched }, { "counted", "i", "r", counted }, { "ended", "v", "i", ended }) };
VAT_PROGRAM(&Steward);
