/* SPDX-License-Identifier: Apache-2.0 */
/* See live.h. */
#include "live.h"

#include <fcntl.h>
#include <sys/mman.h>

int live_page_new(struct live_page **pagep, int *fdp)
{
	_cleanup_close_ int fd = -1;
	struct live_page *page;

	fd = memfd_create("capstan-live", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, sizeof(*page)))
		return error_origin(errno);
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return error_origin(errno);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		munmap(page, sizeof(*page));
		return error_origin(errno);
	}
	page->version = LIVE_VERSION;
	page->event_size = sizeof(struct live_event);
	page->vat_size = sizeof(struct live_vat);
	*pagep = page;
	*fdp = TAKE_FD(fd);
	return 0;
}

struct live_page *live_page_free(struct live_page *page)
{
	if (page)
		munmap(page, sizeof(*page));
	return NULL;
}
