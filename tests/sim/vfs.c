/* The file system below SQLite: what was written and what is durable, sector by sector; locks and the WAL's shared memory, so that
 * the very journal of the product runs here. */
#include "sim/sim.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char sim_vfs_name[] = "davit-sim";

struct sim_file {
	sqlite3_file base;
	struct sfile *f;
	bool delete_on_close;
};

static int file_number(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	const char *const names[] = {"journal.db", "journal.db-wal", "journal.db-journal"};
	for (int i = 0; i < 3; i++)
		if (strcmp(name, names[i]) == 0)
			return sim_machine * 4 + i;
	return sim_machine * 4 + 3;
}

/* ---- faults ---- */

static char reserve_path[SIM_PATH];

/* A full disk has room again once the reserve was given up. */
static bool disk_is_full(void)
{
	struct stat st;
	return world->faults_on && sim_chance(world->sc.rates.journal_full) && stat(reserve_path, &st) == 0;
}

/* ---- data ---- */

static int sim_close(sqlite3_file *file)
{
	struct sim_file *sf = (struct sim_file *)file;
	if (sf->f) {
		sf->f->lock_level[sim_slot] = 0;
		if (sf->delete_on_close)
			sf->f->exists = false;
	}
	return SQLITE_OK;
}

static int sim_read(sqlite3_file *file, void *out, int amount, sqlite3_int64 offset)
{
	struct sfile *f = ((struct sim_file *)file)->f;
	size_t n = (size_t)amount;
	if ((size_t)offset >= f->size) {
		memset(out, 0, n);
		return SQLITE_IOERR_SHORT_READ;
	}
	size_t there = f->size - (size_t)offset;
	memcpy(out, f->data + offset, there < n ? there : n);
	if (there >= n)
		return SQLITE_OK;
	memset((char *)out + there, 0, n - there);
	return SQLITE_IOERR_SHORT_READ;
}

static int sim_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
	struct sfile *f = ((struct sim_file *)file)->f;
	size_t end = (size_t)offset + (size_t)amount;
	sim_step("journal write");
	if (disk_is_full()) {
		world->fulls++;
		world->journal_failed = true;
		sim_trace("journal: disk full");
		return SQLITE_FULL;
	}
	if (end > SIM_FILE_BYTES) {
		sim_violation("the journal grew beyond %d bytes", SIM_FILE_BYTES);
		return SQLITE_FULL;
	}
	world->writes++;
	memcpy(f->data + offset, data, (size_t)amount);
	for (size_t s = (size_t)offset / SIM_SECTOR; s <= (end - 1) / SIM_SECTOR; s++)
		f->dirty[s] = 1;
	if (end > f->size)
		f->size = (uint32_t)end;
	return SQLITE_OK;
}

static int sim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct sfile *f = ((struct sim_file *)file)->f;
	if ((uint32_t)size < f->size) {
		memset(f->data + size, 0, f->size - (size_t)size);
		f->size = (uint32_t)size;
	}
	return SQLITE_OK;
}

static int sim_sync(sqlite3_file *file, int flags)
{
	struct sfile *f = ((struct sim_file *)file)->f;
	(void)flags;
	sim_step("journal sync");
	if (world->faults_on && sim_chance(world->sc.rates.journal_io)) {
		world->journal_failed = true;
		sim_trace("journal: sync failed");
		return SQLITE_IOERR_FSYNC;
	}
	uint32_t top = f->size > f->durable_size ? f->size : f->durable_size;
	for (size_t s = 0; s * SIM_SECTOR < top; s++)
		if (f->dirty[s] || (s + 1) * SIM_SECTOR > f->size)
			memcpy(f->durable + s * SIM_SECTOR, f->data + s * SIM_SECTOR, SIM_SECTOR);
	memset(f->dirty, 0, top / SIM_SECTOR + 1);
	f->durable_size = f->size;
	f->entry_durable = true;
	return SQLITE_OK;
}

static int sim_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	*ret = ((struct sim_file *)file)->f->size;
	return SQLITE_OK;
}

/* ---- locks: by process, gone with it ---- */

static int sim_lock(sqlite3_file *file, int level)
{
	struct sfile *f = ((struct sim_file *)file)->f;
	for (int i = 0; i < SIM_SLOTS; i++) {
		if (i == sim_slot)
			continue;
		int other = f->lock_level[i];
		if (other == SQLITE_LOCK_EXCLUSIVE ||
		    (level >= SQLITE_LOCK_RESERVED && other >= SQLITE_LOCK_RESERVED) ||
		    (level == SQLITE_LOCK_EXCLUSIVE && other > SQLITE_LOCK_NONE))
			return SQLITE_BUSY;
	}
	if (f->lock_level[sim_slot] < level)
		f->lock_level[sim_slot] = level;
	return SQLITE_OK;
}

static int sim_unlock(sqlite3_file *file, int level)
{
	((struct sim_file *)file)->f->lock_level[sim_slot] = level;
	return SQLITE_OK;
}

static int sim_check_reserved(sqlite3_file *file, int *ret)
{
	struct sfile *f = ((struct sim_file *)file)->f;
	*ret = f->lock_level[0] >= SQLITE_LOCK_RESERVED || f->lock_level[1] >= SQLITE_LOCK_RESERVED;
	return SQLITE_OK;
}

static int sim_control(sqlite3_file *file, int op, void *arg)
{
	(void)file;
	(void)op;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int sim_sector_size(sqlite3_file *file)
{
	(void)file;
	return SIM_SECTOR;
}

static int sim_characteristics(sqlite3_file *file)
{
	(void)file;
	/* As SQLite's own file system says by default: a write does not harm the bytes beside it. */
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- the WAL's shared memory ---- */

static int sim_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
	(void)file;
	*ret = NULL;
	if ((region + 1) * size > SIM_SHM_BYTES)
		return SQLITE_IOERR_SHMMAP;
	if (region >= world->shm_regions[sim_machine]) {
		if (!extend)
			return SQLITE_OK;
		world->shm_regions[sim_machine] = region + 1;
	}
	*ret = world->shm[sim_machine] + (size_t)region * (size_t)size;
	return SQLITE_OK;
}

static int sim_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	(void)file;
	for (int i = offset; i < offset + n; i++) {
		for (int s = 0; (flags & SQLITE_SHM_LOCK) && s < SIM_SLOTS; s++) {
			if (s == sim_slot)
				continue;
			if (world->shm_lock_exclusive[sim_machine][s][i] ||
			    ((flags & SQLITE_SHM_EXCLUSIVE) && world->shm_lock_shared[sim_machine][s][i] > 0))
				return SQLITE_BUSY;
		}
	}
	for (int i = offset; i < offset + n; i++) {
		if (flags & SQLITE_SHM_EXCLUSIVE)
			world->shm_lock_exclusive[sim_machine][sim_slot][i] = (flags & SQLITE_SHM_LOCK) != 0;
		else
			world->shm_lock_shared[sim_machine][sim_slot][i] += (flags & SQLITE_SHM_LOCK) ? 1 : -1;
	}
	return SQLITE_OK;
}

static void sim_shm_barrier(sqlite3_file *file)
{
	(void)file;
	__sync_synchronize();
}

static int sim_shm_unmap(sqlite3_file *file, int delete_flag)
{
	(void)file;
	if (delete_flag) {
		memset(world->shm[sim_machine], 0, (size_t)world->shm_regions[sim_machine] * 32768);
		world->shm_regions[sim_machine] = 0;
	}
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = sim_close,
	.xRead = sim_read,
	.xWrite = sim_write,
	.xTruncate = sim_truncate,
	.xSync = sim_sync,
	.xFileSize = sim_size,
	.xLock = sim_lock,
	.xUnlock = sim_unlock,
	.xCheckReservedLock = sim_check_reserved,
	.xFileControl = sim_control,
	.xSectorSize = sim_sector_size,
	.xDeviceCharacteristics = sim_characteristics,
	.xShmMap = sim_shm_map,
	.xShmLock = sim_shm_lock,
	.xShmBarrier = sim_shm_barrier,
	.xShmUnmap = sim_shm_unmap,
};

/* ---- the file system ---- */

static int sim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
	(void)vfs;
	struct sim_file *sf = (struct sim_file *)file;
	memset(sf, 0, sizeof(*sf));
	sf->f = &world->files[name ? file_number(name) : sim_machine * 4 + 3];
	if (name && (flags & SQLITE_OPEN_MAIN_DB)) {
		const char *slash = strrchr(name, '/');
		snprintf(reserve_path, sizeof(reserve_path), "%.*s/reserve", slash ? (int)(slash - name) : 0, name);
	}
	if (!sf->f->exists) {
		if (!(flags & SQLITE_OPEN_CREATE))
			return SQLITE_CANTOPEN;
		sf->f->exists = true;
		sf->f->entry_durable = false;
		sf->f->size = 0;
	}
	sf->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
	sf->base.pMethods = &methods;
	if (out_flags)
		*out_flags = flags;
	return SQLITE_OK;
}

static int sim_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	(void)vfs;
	(void)sync_dir;
	struct sfile *f = &world->files[file_number(name)];
	if (!f->exists)
		return SQLITE_IOERR_DELETE_NOENT;
	memset(f->data, 0, f->size);
	f->exists = false;
	f->size = 0;
	return SQLITE_OK;
}

static int sim_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	(void)vfs;
	(void)flags;
	const struct sfile *f = &world->files[file_number(name)];
	*ret = f->exists && (flags != SQLITE_ACCESS_EXISTS || f->size > 0);
	return SQLITE_OK;
}

static int sim_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	(void)vfs;
	snprintf(out, (size_t)size, "%s", name);
	return SQLITE_OK;
}

static int sim_randomness(sqlite3_vfs *vfs, int size, char *out)
{
	(void)vfs;
	for (int i = 0; i < size; i++)
		out[i] = (char)sim_next();
	return size;
}

static int sim_sleep(sqlite3_vfs *vfs, int microseconds)
{
	(void)vfs;
	sim_step("journal busy");
	world->mono_ms += microseconds / 1000 + 1;
	return microseconds;
}

static int sim_time(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
	(void)vfs;
	*ret = 210866760000000LL + world->mono_ms + world->wall_offset_ms;
	return SQLITE_OK;
}

static int sim_last_error(sqlite3_vfs *vfs, int size, char *out)
{
	(void)vfs;
	(void)size;
	(void)out;
	return 0;
}

void sim_vfs_register(void)
{
	static sqlite3_vfs vfs = {
		.iVersion = 2,
		.szOsFile = sizeof(struct sim_file),
		.mxPathname = SIM_PATH,
		.zName = sim_vfs_name,
		.xOpen = sim_open,
		.xDelete = sim_delete,
		.xAccess = sim_access,
		.xFullPathname = sim_full_path,
		.xRandomness = sim_randomness,
		.xSleep = sim_sleep,
		.xGetLastError = sim_last_error,
		.xCurrentTimeInt64 = sim_time,
	};
	if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
		abort();
}

/* ---- ends ---- */

void sim_vfs_process_ended(int slot)
{
	for (int i = 0; i < SIM_FILES; i++)
		world->files[i].lock_level[slot] = 0;
	for (int m = 0; m < SIM_MACHINES; m++) {
		memset(world->shm_lock_shared[m][slot], 0, sizeof(world->shm_lock_shared[m][slot]));
		memset(world->shm_lock_exclusive[m][slot], 0, sizeof(world->shm_lock_exclusive[m][slot]));
	}
}

static void cut_file(struct sfile *f)
{
	if (f->exists && !f->entry_durable && sim_below(2) == 0) {
		f->exists = false;
		memset(f->data, 0, f->size);
		f->size = 0;
	}
	uint32_t top = f->size > f->durable_size ? f->size : f->durable_size;
	uint32_t kept_to = f->durable_size;
	for (size_t s = 0; f->exists && s * SIM_SECTOR < top; s++) {
		if (!f->dirty[s])
			continue;
		if (sim_below(2) == 0) {
			uint32_t end = (uint32_t)((s + 1) * SIM_SECTOR);
			kept_to = end > kept_to ? (end < f->size ? end : f->size) : kept_to;
		} else {
			memcpy(f->data + s * SIM_SECTOR, f->durable + s * SIM_SECTOR, SIM_SECTOR);
		}
	}
	if (f->exists) {
		/* A file that was cut shorter and not synced has its former length again, or not. */
		if (f->size < f->durable_size && sim_below(2) == 0)
			kept_to = f->size;
		else if (f->size < f->durable_size)
			memcpy(f->data + f->size, f->durable + f->size, f->durable_size - f->size);
		f->size = kept_to;
		if (top > kept_to)
			memset(f->data + kept_to, 0, top - kept_to);
	}
	memcpy(f->durable, f->data, top);
	f->durable_size = f->size;
	memset(f->dirty, 0, sizeof(f->dirty));
	memset(f->lock_level, 0, sizeof(f->lock_level));
}

void sim_vfs_power_cut(int machine)
{
	for (int i = 0; i < 4; i++)
		cut_file(&world->files[machine * 4 + i]);
	memset(world->shm[machine], 0, (size_t)world->shm_regions[machine] * 32768);
	world->shm_regions[machine] = 0;
	memset(world->shm_lock_shared[machine], 0, sizeof(world->shm_lock_shared[machine]));
	memset(world->shm_lock_exclusive[machine], 0, sizeof(world->shm_lock_exclusive[machine]));
}

bool sim_vfs_is_synced(void)
{
	const struct sfile *wal = &world->files[sim_machine * 4 + 1];
	for (size_t s = 0; wal->exists && s * SIM_SECTOR < wal->size; s++)
		if (wal->dirty[s])
			return false;
	return true;
}
