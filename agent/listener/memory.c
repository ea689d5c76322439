/* Returns memory that a waiting agent does not need to the system. */
#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/listener/listener_priv.h"
#include "base/core/clock.h"
#include "base/core/str.h"

enum { TRIM_MS = 1000 };

/* One thread needs one arena (libcurl's resolver threads would each get one), and large blocks should leave with their
 * owner. OpenSSL's buffer of 16 KiB, which it takes for each record and gives back, is none of them: with a mapping of its own
 * each record would cost two calls of the kernel and fresh pages. */
void listener_set_up_memory(void)
{
#ifdef __GLIBC__
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_MMAP_THRESHOLD, 32 * 1024);
	(void)mallopt(M_TRIM_THRESHOLD, 64 * 1024);
	(void)mallopt(M_TOP_PAD, 4 * 1024);
#endif
}

void listener_trim_soon(struct listener *l)
{
	l->trim_due_ms = clock_mono_ms() + TRIM_MS;
}

/* True if addresses were written into the read-only segments. Their pages would lose them. */
static bool has_text_relocations(const struct dl_phdr_info *object)
{
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		if (object->dlpi_phdr[i].p_type != PT_DYNAMIC)
			continue;
		for (const ElfW(Dyn) *d = (const ElfW(Dyn) *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr);
		     d->d_tag != DT_NULL; d++)
			if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL) != 0))
				return true;
	}
	return false;
}

/* The whole pages of a program's or library's segments that nothing writes to: the file has them, and the kernel fetches
 * again what is used. */
static int give_back_object(struct dl_phdr_info *object, size_t size, void *context)
{
	(void)size;
	size_t page = *(const size_t *)context;
	/* "" is the program itself; another name without a slash is the kernel's own. */
	if ((object->dlpi_name[0] != '\0' && object->dlpi_name[0] != '/') || has_text_relocations(object))
		return 0;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0)
			continue;
		uintptr_t begin = (uintptr_t)(object->dlpi_addr + segment->p_vaddr), end = begin + segment->p_filesz;
		begin = (begin + page - 1) / page * page;
		end = end / page * page;
		if (end > begin)
			(void)madvise((void *)begin, end - begin, MADV_DONTNEED); // NOLINT(performance-no-int-to-ptr)
	}
	return 0;
}

void listener_trim(struct listener *l, int64_t now_ms)
{
	if (l->trim_due_ms == 0 || now_ms < l->trim_due_ms)
		return;
	l->trim_due_ms = 0;
#ifdef __GLIBC__
	malloc_trim(0);
#endif
	/* Start-up ran through dozens of libraries, few of which are needed to wait. They are most of an agent's memory. */
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	(void)dl_iterate_phdr(give_back_object, &page);
}
