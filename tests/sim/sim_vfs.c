/* SQLite on the simulated disk. Each file has what was written and what is durable; xSync makes the one the other. WAL needs
 * xShmMap, xShmLock, xShmBarrier and xShmUnmap: memory of the world, shared by all processes of a machine, gone at a power cut.
 * Locks belong to processes and end with them. */
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "sim/world.h"
#include "base/clock.h"

struct vfile {
	sqlite3_file base;
	struct sim_disk *disk;
	struct sim_disk_file *file;
	int level;                    /* SQLITE_LOCK_… */
	struct sim_shm *shm;
	uint16_t shm_shared, shm_exclusive;
};

static struct sim_disk *own_disk(void)
{
	int machine = sim_self >= 0 ? sim->actors[sim_self].machine : SIM_TARGETS;
	return &sim->disks[machine >= SIM_TARGETS ? machine - SIM_TARGETS : 0];
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static struct sim_disk_file *find_file(struct sim_disk *d, const char *path, bool create)
{
	const char *name = base_name(path);
	for (int i = 0; i < SIM_DISK_FILES; i++)
		if (d->files[i].used && strcmp(d->files[i].name, name) == 0)
			return &d->files[i];
	for (int i = 0; create && i < SIM_DISK_FILES; i++) {
		struct sim_disk_file *f = &d->files[i];
		if (f->used || f->durable_exists)
			continue;
		f->used = true;
		f->size = f->durable_size = 0;
		snprintf(f->name, sizeof(f->name), "%s", name);
		return f;
	}
	return NULL;
}

/* ---- content ---- */

static int v_read(sqlite3_file *sf, void *to, int amount, sqlite3_int64 offset)
{
	const struct sim_disk_file *f = ((struct vfile *)sf)->file;
	if (offset >= f->size) {
		memset(to, 0, (size_t)amount);
		return SQLITE_IOERR_SHORT_READ;
	}
	uint32_t there = f->size - (uint32_t)offset;
	uint32_t n = there < (uint32_t)amount ? there : (uint32_t)amount;
	memcpy(to, f->data + offset, n);
	if (n == (uint32_t)amount)
		return SQLITE_OK;
	memset((char *)to + n, 0, (size_t)amount - n);
	return SQLITE_IOERR_SHORT_READ;
}

static int v_write(sqlite3_file *sf, const void *from, int amount, sqlite3_int64 offset)
{
	struct vfile *v = (struct vfile *)sf;
	struct sim_disk_file *f = v->file;
	sim_step("journal write");
	if (offset + amount > SIM_DISK_BYTES)
		return SQLITE_FULL;
	if (sim->faults_on && (int64_t)sim->ops < v->disk->full_until_ops)
		return SQLITE_FULL;
	if (sim_chance(sim->faults.journal_full)) {
		sim->fulls++;
		v->disk->full_until_ops = (int64_t)sim->ops + 1 + (int64_t)sim_below(30);
		sim_trace("the journal's disk is full");
		return SQLITE_FULL;
	}
	memcpy(f->data + offset, from, (size_t)amount);
	for (sqlite3_int64 s = offset / SIM_SECTOR; s <= (offset + amount - 1) / SIM_SECTOR; s++)
		f->dirty[s] = 1;
	if (offset + amount > f->size)
		f->size = (uint32_t)(offset + amount);
	v->disk->writes++;
	return SQLITE_OK;
}

static int v_truncate(sqlite3_file *sf, sqlite3_int64 size)
{
	struct sim_disk_file *f = ((struct vfile *)sf)->file;
	sim_step("journal truncate");
	if (size < f->size) {
		memset(f->data + size, 0, f->size - (uint32_t)size);
		f->size = (uint32_t)size;
	}
	return SQLITE_OK;
}

static int v_sync(sqlite3_file *sf, int flags)
{
	struct vfile *v = (struct vfile *)sf;
	(void)flags;
	sim_step("journal sync");
	memcpy(v->file->durable, v->file->data, v->file->size);
	v->file->durable_size = v->file->size;
	v->file->durable_exists = true;
	memset(v->file->dirty, 0, sizeof(v->file->dirty));
	v->disk->syncs++;
	return SQLITE_OK;
}

static int v_size(sqlite3_file *sf, sqlite3_int64 *ret)
{
	*ret = ((struct vfile *)sf)->file->size;
	return SQLITE_OK;
}

/* ---- locks of the database file ---- */

static bool other(pid_t holder)
{
	return holder != 0 && holder != getpid();
}

static int shared_others(const struct sim_disk_file *f)
{
	int n = 0;
	for (int i = 0; i < 8; i++)
		n += f->shared[i].pid != 0 && f->shared[i].pid != getpid();
	return n;
}

static void shared_add(struct sim_disk_file *f, int by)
{
	for (int i = 0; i < 8; i++)
		if (f->shared[i].pid == getpid()) {
			f->shared[i].count += by;
			if (f->shared[i].count <= 0)
				f->shared[i].pid = 0;
			return;
		}
	for (int i = 0; by > 0 && i < 8; i++)
		if (f->shared[i].pid == 0) {
			f->shared[i].pid = getpid();
			f->shared[i].count = by;
			return;
		}
}

static int v_lock(sqlite3_file *sf, int level)
{
	struct vfile *v = (struct vfile *)sf;
	struct sim_disk_file *f = v->file;
	if (v->level >= level)
		return SQLITE_OK;
	if (v->level < SQLITE_LOCK_SHARED) {
		if (other(f->pending) || other(f->exclusive))
			return SQLITE_BUSY;
		shared_add(f, 1);
		v->level = SQLITE_LOCK_SHARED;
	}
	if (level == SQLITE_LOCK_RESERVED) {
		if (other(f->reserved))
			return SQLITE_BUSY;
		f->reserved = getpid();
		v->level = level;
	} else if (level == SQLITE_LOCK_EXCLUSIVE) {
		if (other(f->reserved) || other(f->pending))
			return SQLITE_BUSY;
		f->pending = getpid();
		v->level = SQLITE_LOCK_PENDING;
		if (shared_others(f) > 0)
			return SQLITE_BUSY;
		f->exclusive = getpid();
		v->level = level;
	}
	return SQLITE_OK;
}

static int v_unlock(sqlite3_file *sf, int level)
{
	struct vfile *v = (struct vfile *)sf;
	struct sim_disk_file *f = v->file;
	if (v->level <= level)
		return SQLITE_OK;
	if (v->level > SQLITE_LOCK_SHARED) {
		if (f->exclusive == getpid())
			f->exclusive = 0;
		if (f->pending == getpid())
			f->pending = 0;
		if (f->reserved == getpid())
			f->reserved = 0;
	}
	if (level == SQLITE_LOCK_NONE)
		shared_add(f, -1);
	v->level = level;
	return SQLITE_OK;
}

static int v_reserved(sqlite3_file *sf, int *ret)
{
	const struct sim_disk_file *f = ((struct vfile *)sf)->file;
	*ret = f->reserved != 0 || f->pending != 0 || f->exclusive != 0;
	return SQLITE_OK;
}

static int v_control(sqlite3_file *sf, int op, void *arg)
{
	(void)sf;
	(void)op;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int v_sector(sqlite3_file *sf)
{
	(void)sf;
	return SIM_SECTOR;
}

static int v_characteristics(sqlite3_file *sf)
{
	(void)sf;
	return 0;
}

/* ---- shared memory of WAL ---- */

static int v_shm_map(sqlite3_file *sf, int region, int size, int extend, void volatile **ret)
{
	struct vfile *v = (struct vfile *)sf;
	struct sim_shm *shm = &v->disk->shm;
	if (size != SIM_SHM_REGION || region >= SIM_SHM_REGIONS)
		return SQLITE_IOERR_SHMMAP;
	shm->used = true;
	v->shm = shm;
	if (region >= shm->regions) {
		if (!extend) {
			*ret = NULL;
			return SQLITE_OK;
		}
		shm->regions = region + 1;
	}
	*ret = shm->data[region];
	return SQLITE_OK;
}

static bool shm_shared_by_others(const struct sim_shm *shm, int slot)
{
	for (int i = 0; i < 8; i++)
		if (other(shm->shared[slot][i]))
			return true;
	return false;
}

static void shm_unlock(struct vfile *v, int slot)
{
	if (v->shm_exclusive & (1u << slot)) {
		if (v->shm->exclusive[slot] == getpid())
			v->shm->exclusive[slot] = 0;
		v->shm_exclusive = (uint16_t)(v->shm_exclusive & ~(1u << slot));
	}
	if (v->shm_shared & (1u << slot)) {
		for (int i = 0; i < 8; i++)
			if (v->shm->shared[slot][i] == getpid()) {
				v->shm->shared[slot][i] = 0;
				break;
			}
		v->shm_shared = (uint16_t)(v->shm_shared & ~(1u << slot));
	}
}

static int v_shm_lock(sqlite3_file *sf, int from, int count, int flags)
{
	struct vfile *v = (struct vfile *)sf;
	struct sim_shm *shm = &v->disk->shm;
	for (int slot = from; (flags & SQLITE_SHM_LOCK) && slot < from + count; slot++) {
		if (other(shm->exclusive[slot]))
			return SQLITE_BUSY;
		if ((flags & SQLITE_SHM_EXCLUSIVE) && shm_shared_by_others(shm, slot))
			return SQLITE_BUSY;
	}
	v->shm = shm;
	for (int slot = from; slot < from + count; slot++) {
		if (flags & SQLITE_SHM_UNLOCK) {
			shm_unlock(v, slot);
		} else if (flags & SQLITE_SHM_EXCLUSIVE) {
			shm->exclusive[slot] = getpid();
			v->shm_exclusive |= (uint16_t)(1u << slot);
		} else if (!(v->shm_shared & (1u << slot))) {
			for (int i = 0; i < 8; i++)
				if (shm->shared[slot][i] == 0) {
					shm->shared[slot][i] = getpid();
					break;
				}
			v->shm_shared |= (uint16_t)(1u << slot);
		}
	}
	return SQLITE_OK;
}

static void v_shm_barrier(sqlite3_file *sf)
{
	(void)sf;
	__sync_synchronize();
}

static int v_shm_unmap(sqlite3_file *sf, int remove)
{
	struct vfile *v = (struct vfile *)sf;
	for (int slot = 0; v->shm != NULL && slot < SIM_LOCKS; slot++)
		shm_unlock(v, slot);
	if (remove)
		memset(&v->disk->shm, 0, sizeof(v->disk->shm));
	return SQLITE_OK;
}

static int v_close(sqlite3_file *sf)
{
	v_shm_unmap(sf, 0);
	return v_unlock(sf, SQLITE_LOCK_NONE);
}

static const sqlite3_io_methods methods = {
	2, v_close, v_read, v_write, v_truncate, v_sync, v_size, v_lock, v_unlock, v_reserved, v_control, v_sector,
	v_characteristics, v_shm_map, v_shm_lock, v_shm_barrier, v_shm_unmap, NULL, NULL,
};

/* ---- the file system ---- */

static int v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *sf, int flags, int *ret_flags)
{
	struct vfile *v = (struct vfile *)sf;
	(void)vfs;
	memset(v, 0, sizeof(*v));
	if (name == NULL)
		return SQLITE_CANTOPEN;          /* temporary files are kept in memory (SQLITE_TEMP_STORE) */
	v->disk = own_disk();
	if (sim->faults_on && sim_chance(sim->faults.journal_gone)) {
		sim_trace("the journal cannot be opened");
		return SQLITE_CANTOPEN;
	}
	v->file = find_file(v->disk, name, (flags & SQLITE_OPEN_CREATE) != 0);
	if (v->file == NULL)
		return SQLITE_CANTOPEN;
	if (ret_flags)
		*ret_flags = flags;
	v->base.pMethods = &methods;
	return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	(void)vfs;
	(void)sync_dir;
	sim_step("journal file removed");
	struct sim_disk_file *f = find_file(own_disk(), name, false);
	if (f == NULL)
		return SQLITE_IOERR_DELETE_NOENT;
	/* Gone at once and for good: SQLite deletes the WAL only after everything in it has reached the database. */
	f->used = f->durable_exists = false;
	f->size = f->durable_size = 0;
	return SQLITE_OK;
}

static int v_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	(void)vfs;
	(void)flags;
	const struct sim_disk_file *f = find_file(own_disk(), name, false);
	*ret = f != NULL && (flags != SQLITE_ACCESS_EXISTS || f->size > 0 || f->used);
	return SQLITE_OK;
}

static int v_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	(void)vfs;
	snprintf(out, (size_t)size, "%s", name);
	return SQLITE_OK;
}

static int v_randomness(sqlite3_vfs *vfs, int size, char *out)
{
	(void)vfs;
	for (int i = 0; i < size; i++)
		out[i] = (char)sim_random();
	return size;
}

static int v_sleep(sqlite3_vfs *vfs, int microseconds)
{
	(void)vfs;
	clock_pause_ms(microseconds / 1000 + 1);
	return microseconds;
}

static int v_time(sqlite3_vfs *vfs, double *ret)
{
	(void)vfs;
	*ret = 2440587.5 + (double)sim->wall_ms / 86400000.0;
	return SQLITE_OK;
}

static int v_last_error(sqlite3_vfs *vfs, int size, char *out)
{
	(void)vfs;
	if (size > 0)
		out[0] = '\0';
	return 0;
}

int sim_vfs_register(void)
{
	static sqlite3_vfs vfs = {
		.iVersion = 1, .szOsFile = sizeof(struct vfile), .mxPathname = 512, .zName = "davit-sim", .xOpen = v_open,
		.xDelete = v_delete, .xAccess = v_access, .xFullPathname = v_full_path, .xRandomness = v_randomness,
		.xSleep = v_sleep, .xCurrentTime = v_time, .xGetLastError = v_last_error,
	};
	return sqlite3_vfs_register(&vfs, 0);
}

/* ---- what befalls a disk ---- */

void sim_disk_process_ended(struct sim_disk *d, pid_t pid)
{
	for (int i = 0; i < SIM_DISK_FILES; i++) {
		struct sim_disk_file *f = &d->files[i];
		f->reserved = f->reserved == pid ? 0 : f->reserved;
		f->pending = f->pending == pid ? 0 : f->pending;
		f->exclusive = f->exclusive == pid ? 0 : f->exclusive;
		for (int j = 0; j < 8; j++)
			if (f->shared[j].pid == pid)
				f->shared[j].pid = 0;
	}
	for (int slot = 0; slot < SIM_LOCKS; slot++) {
		if (d->shm.exclusive[slot] == pid)
			d->shm.exclusive[slot] = 0;
		for (int i = 0; i < 8; i++)
			if (d->shm.shared[slot][i] == pid)
				d->shm.shared[slot][i] = 0;
	}
}

/* Each sector that was not synced is kept, lost or torn in the middle. */
static void cut_file(struct sim_disk_file *f)
{
	if (!f->used)
		return;
	for (uint32_t s = 0; s < SIM_DISK_BYTES / SIM_SECTOR; s++) {
		if (!f->dirty[s])
			continue;
		uint8_t *now = f->data + s * SIM_SECTOR, *safe = f->durable + s * SIM_SECTOR;
		uint64_t fate = sim_below(3);
		if (s * SIM_SECTOR >= f->durable_size)
			memset(safe, 0, SIM_SECTOR);
		if (fate == 0)
			memcpy(now, safe, SIM_SECTOR);
		else if (fate == 1)
			memcpy(now + SIM_SECTOR / 2, safe + SIM_SECTOR / 2, SIM_SECTOR / 2);
		f->dirty[s] = 0;
	}
	if (sim_below(2) == 0 && f->size > f->durable_size)
		f->size = f->durable_size;
	if (!f->durable_exists && sim_below(2) == 0) {
		f->used = false;
		f->size = 0;
	}
	memcpy(f->durable, f->data, f->size);
	f->durable_size = f->size;
	f->durable_exists = f->used;
	f->reserved = f->pending = f->exclusive = 0;
	memset(f->shared, 0, sizeof(f->shared));
}

void sim_disk_power_cut(struct sim_disk *d)
{
	for (int i = 0; i < SIM_DISK_FILES; i++)
		cut_file(&d->files[i]);
	memset(&d->shm, 0, sizeof(d->shm));
}
