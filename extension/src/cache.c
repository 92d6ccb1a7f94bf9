/*
 * cache.c
 *		What an enqueue asks again and again: queue ids, access rules, known handlers. Kept per session until an invalidation.
 */
#include "pawl.h"
#include "shared.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define MAX_ENTRIES 10000

typedef struct QueueEntry
{
	char		name[PAWL_MAX_NAME + 1];
	int32		queue_id;
} QueueEntry;

typedef struct AccessKey
{
	Oid			role;
	int32		queue_id;
	char		workflow_name[PAWL_MAX_NAME + 1];
} AccessKey;

typedef struct AccessEntry
{
	AccessKey	key;
	bool		allowed;
} AccessEntry;

typedef struct NameEntry
{
	char		name[PAWL_MAX_NAME + 1];
	bool		known;
} NameEntry;

static MemoryContext context = NULL;
static bool valid = false;
static uint64 generation = 0;	/* of what was kept; what was read before an invalidation is not kept */
static Oid	watched = InvalidOid;	/* pawl.queue: the relation that pawl.invalidate_caches invalidates */
static HTAB *queues;
static HTAB *accesses;
static HTAB *handlers;
static HTAB *mentioned = NULL;	/* names that a NOTICE was given for */

static void
relation_changed(Datum argument, Oid relation)
{
	if (relation == InvalidOid || relation == watched)
	{
		valid = false;
		generation++;
	}
}

static void
roles_changed(Datum argument, int cache, uint32 hash)
{
	valid = false;
	generation++;
}

void
pawl_init_cache(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, roles_changed, (Datum) 0);	/* what pawl.has_grants reads */
}

static HTAB *
make_table(const char *name, Size key, Size entry, MemoryContext where, int flags)
{
	HASHCTL		control = {.keysize = key, .entrysize = entry, .hcxt = where};

	return hash_create(name, 64, &control, HASH_ELEM | HASH_CONTEXT | flags);
}

static void
prepare_cache(void)
{
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "pawl cache", ALLOCSET_DEFAULT_SIZES);
	if (valid && hash_get_num_entries(accesses) + hash_get_num_entries(handlers) < MAX_ENTRIES)
		return;
	MemoryContextReset(context);
	queues = make_table("pawl queues", PAWL_MAX_NAME + 1, sizeof(QueueEntry), context, HASH_STRINGS);
	accesses = make_table("pawl access", sizeof(AccessKey), sizeof(AccessEntry), context, HASH_BLOBS);
	handlers = make_table("pawl handlers", PAWL_MAX_NAME + 1, sizeof(NameEntry), context, HASH_STRINGS);
	watched = pawl_relation("queue");
	valid = true;
}

/* One value of a query in the owner's name; false: no row. */
static bool
look_up(SPIPlanPtr *plan, const char *sql, int count, Oid *types, Datum *values, Datum *result, bool *isnull)
{
	PawlOwner	owner;
	bool		found;

	pawl_become_owner(&owner);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (*plan == NULL)
		*plan = pawl_prepare(sql, count, types);
	/* The snapshot of a REPEATABLE READ transaction may be older than the invalidation of what it sees. */
	if (pawl_execute_latest(*plan, values, NULL) != SPI_OK_SELECT)
		elog(ERROR, "could not read pawl's tables");
	found = SPI_processed > 0;
	if (found)
		*result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
	SPI_finish();
	pawl_become_caller(&owner);
	return found;
}

bool
pawl_find_queue(const char *name, int32 *queue_id)
{
	static SPIPlanPtr plan = NULL;
	QueueEntry *entry;
	uint64		before;
	Datum		values[1];
	Datum		found;
	bool		isnull;

	if (strcmp(name, "default") == 0)
	{
		*queue_id = 0;
		return true;
	}
	prepare_cache();
	entry = hash_search(queues, name, HASH_FIND, NULL);
	if (entry == NULL)
	{
		values[0] = CStringGetTextDatum(name);
		before = generation;
		if (!look_up(&plan, "SELECT q.queue_id FROM pawl.queue q WHERE q.queue_name OPERATOR(pg_catalog.=) $1", 1,
					 ((Oid[]) {TEXTOID}), values, &found, &isnull))
			return false;
		*queue_id = DatumGetInt32(found);
		if (before == generation)
		{
			entry = hash_search(queues, name, HASH_ENTER, NULL);
			entry->queue_id = *queue_id;
		}
		return true;
	}
	*queue_id = entry->queue_id;
	return true;
}

/* The queue that a misspelt name most likely meant; NULL: none is near. */
const char *
pawl_nearest_queue(const char *name)
{
	static SPIPlanPtr plan = NULL;
	MemoryContext caller = CurrentMemoryContext;
	const char *candidates[101] = {"default"};
	const char *nearest;
	PawlOwner	owner;

	pawl_become_owner(&owner);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (plan == NULL)
		plan = pawl_prepare("SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id OPERATOR(pg_catalog.>) 0"
						   " ORDER BY q.queue_id USING OPERATOR(pg_catalog.<) LIMIT 99", 0, NULL);
	if (pawl_execute_latest(plan, NULL, NULL) != SPI_OK_SELECT)
		elog(ERROR, "could not read the queues");
	for (uint64 i = 0; i < SPI_processed; i++)
		candidates[i + 1] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	nearest = pawl_near(name, candidates);
	if (nearest != NULL)
		nearest = MemoryContextStrdup(caller, nearest);
	SPI_finish();
	pawl_become_caller(&owner);
	return nearest;
}

/*
 * EXECUTE on the function is the base; a role whose rules are all narrowed may enqueue only what one of them matches.
 */
bool
pawl_may_enqueue(Oid role, const char *workflow_name, int32 queue_id, const char *queue)
{
	static SPIPlanPtr plan = NULL;
	AccessKey	key;
	AccessEntry *entry;
	uint64		before;
	Datum		values[3];
	Datum		found;
	bool		isnull;
	bool		allowed;

	if (superuser_arg(role))
		return true;
	prepare_cache();
	memset(&key, 0, sizeof(key));
	key.role = role;
	key.queue_id = queue_id;
	strlcpy(key.workflow_name, workflow_name, sizeof(key.workflow_name));
	entry = hash_search(accesses, &key, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->allowed;
	values[0] = ObjectIdGetDatum(role);
	values[1] = CStringGetTextDatum(workflow_name);
	values[2] = CStringGetTextDatum(queue);
	before = generation;
	if (!look_up(&plan,
				 "SELECT coalesce(pg_catalog.bool_or(r.in_force AND (r.workflow_name IS NULL OR r.workflow_name OPERATOR(pg_catalog.=) $2)"
				 " AND (r.queue_name IS NULL OR r.queue_name OPERATOR(pg_catalog.=) $3)), true)"
				 " FROM pawl.access_rules_of($1) r WHERE r.access OPERATOR(pg_catalog.=) 'enqueue'", 3, ((Oid[]) {OIDOID, TEXTOID, TEXTOID}), values, &found, &isnull))
		elog(ERROR, "could not read the access rules");
	allowed = DatumGetBool(found);
	if (before == generation)
	{
		entry = hash_search(accesses, &key, HASH_ENTER, NULL);
		entry->allowed = allowed;
	}
	return allowed;
}

/* Whether any worker ever offered to run it. */
bool
pawl_handler_known(const char *workflow_name)
{
	static SPIPlanPtr plan = NULL;
	NameEntry  *entry;
	uint64		before;
	Datum		values[1];
	Datum		found;
	bool		isnull;
	bool		known;

	prepare_cache();
	entry = hash_search(handlers, workflow_name, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->known;
	values[0] = CStringGetTextDatum(workflow_name);
	before = generation;
	known = look_up(&plan, "SELECT true FROM pawl.known_handler h WHERE h.workflow_name OPERATOR(pg_catalog.=) $1", 1,
					((Oid[]) {TEXTOID}), values, &found, &isnull);
	if (before == generation)
	{
		entry = hash_search(handlers, workflow_name, HASH_ENTER, NULL);
		entry->known = known;
	}
	return known;
}

/* Whether a worker of the last day offered this version of it, or it is an SQL function. Not remembered: it is asked once in a session. */
bool
pawl_version_known(const char *workflow_name, int32 version)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[2] = {CStringGetTextDatum(workflow_name), Int32GetDatum(version)};
	Datum		found;
	bool		isnull;

	return look_up(&plan, "SELECT true FROM pawl.worker_handler h WHERE h.workflow_name OPERATOR(pg_catalog.=) $1"
				   " AND h.workflow_version OPERATOR(pg_catalog.=) $2 UNION ALL SELECT true FROM pawl.sql_handler s"
				   " WHERE s.workflow_name OPERATOR(pg_catalog.=) $1 AND s.workflow_version OPERATOR(pg_catalog.=) $2 LIMIT 1",
				   2, ((Oid[]) {TEXTOID, INT4OID}), values, &found, &isnull);
}

/* True the first time in this session. */
bool
pawl_first_mention(const char *workflow_name)
{
	bool		found;

	if (mentioned == NULL || hash_get_num_entries(mentioned) > MAX_ENTRIES)
	{
		if (mentioned != NULL)
			hash_destroy(mentioned);
		mentioned = make_table("pawl mentioned names", PAWL_MAX_NAME + 1, sizeof(NameEntry), TopMemoryContext, HASH_STRINGS);
	}
	(void) hash_search(mentioned, workflow_name, HASH_ENTER, &found);
	return !found;
}

/* invalidate_caches() RETURNS void: every session forgets what it looked up, once this commits; this one at once. */
PG_FUNCTION_INFO_V1(pawl_invalidate_caches_1_0);
Datum
pawl_invalidate_caches_1_0(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcacheByRelid(pawl_relation("queue"));
	PG_RETURN_VOID();
}

/* Whether the outer user may read payloads. */
bool
pawl_may_inspect(void)
{
	static SPIPlanPtr plan = NULL;
	Oid			role = pawl_outer_role();
	Datum		values[1] = {ObjectIdGetDatum(role)};
	Datum		found;
	bool		isnull;

	if (superuser_arg(role))
		return true;
	if (!look_up(&plan,
				 "SELECT EXISTS (SELECT FROM pawl.access_rules_of($1) r WHERE r.access OPERATOR(pg_catalog.=) 'inspect' AND r.in_force)"
				 " OR EXISTS (SELECT FROM pg_catalog.pg_namespace n"
				 " WHERE n.nspname OPERATOR(pg_catalog.=) 'pawl' AND pg_catalog.pg_has_role($1, n.nspowner, 'USAGE'))",
				 1, ((Oid[]) {OIDOID}), values, &found, &isnull))
		elog(ERROR, "could not read the access rules");
	return DatumGetBool(found);
}

/* may_inspect() RETURNS boolean */
PG_FUNCTION_INFO_V1(pawl_may_inspect_1_0);
Datum
pawl_may_inspect_1_0(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(pawl_may_inspect());
}

/* Names and versions have one length, and no NULLs. */
static void
check_handlers(ArrayType *names, ArrayType *versions)
{
	Datum	   *values;
	int			count;
	bool	   *name_nulls;
	bool	   *version_nulls;
	int			nversions;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &values, &name_nulls, &count);
	deconstruct_array(versions, INT4OID, sizeof(int32), true, TYPALIGN_INT, &values, &version_nulls, &nversions);
	if (count != nversions)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the arrays of one call must have equal lengths"),
				 errdetail("Their lengths are %d, %d.", count, nversions),
				 errhint("Give one element for each handler in both arrays.")));
	for (int i = 0; i < count; i++)
		if (name_nulls[i] || version_nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("workflow_names and workflow_versions must not hold nulls"),
					 errdetail("Element %d is null.", i + 1),
					 errhint("Give the arrays that the worker registered.")));
}

static MemoryContext offer_context = NULL;
static PawlOffer *offer = NULL;
static bool offer_doubted = false;
static ArrayType *offer_names;	/* what it was made for */
static ArrayType *offer_versions;

static bool
same_array(const ArrayType *a, const ArrayType *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

static Datum
text_array(char **values, int count)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		elements[i] = CStringGetTextDatum(values[i]);
	return PointerGetDatum(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
int4_array(int32 *values, int count)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		elements[i] = Int32GetDatum(values[i]);
	return PointerGetDatum(construct_array(elements, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static uint64
hash_value_of(Datum array, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) DatumGetPointer(array), VARSIZE(DatumGetPointer(array)), seed);
}

/* The rows of pawl.offered_versions, as an offer in the current context. */
static PawlOffer *
make_offer(uint64 generation)
{
	PawlOffer  *made = palloc0(sizeof(PawlOffer));
	int			count = (int) SPI_processed;
	char	  **names = palloc(sizeof(char *) * Max(count, 1));
	int32	   *tops = palloc(sizeof(int32) * Max(count, 1));
	int			distinct = 0;

	made->generation = generation;
	made->count = count;
	made->names = palloc(sizeof(char *) * Max(count, 1));
	made->versions = palloc(sizeof(int32) * Max(count, 1));
	made->above = palloc(sizeof(int32) * Max(count, 1));
	made->sql = palloc(sizeof(bool) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	descriptor = SPI_tuptable->tupdesc;
		bool		isnull;

		made->names[i] = TextDatumGetCString(SPI_getbinval(row, descriptor, 1, &isnull));
		made->versions[i] = DatumGetInt32(SPI_getbinval(row, descriptor, 2, &isnull));
		made->above[i] = DatumGetInt32(SPI_getbinval(row, descriptor, 3, &isnull));
		made->sql[i] = DatumGetBool(SPI_getbinval(row, descriptor, 4, &isnull));
		made->any_sql |= made->sql[i];
		if (i == 0 || strcmp(made->names[i], made->names[i - 1]) != 0)
			names[distinct++] = made->names[i];
		tops[distinct - 1] = made->versions[i];
	}
	made->name_array = text_array(made->names, count);
	made->version_array = int4_array(made->versions, count);
	made->above_array = int4_array(made->above, count);
	made->distinct_names = text_array(names, distinct);
	made->top_versions = int4_array(tops, distinct);
	made->hash = hash_value_of(made->name_array, hash_value_of(made->version_array, hash_value_of(made->above_array, 0)));
	return made;
}

/* What may be run by a worker with these handlers. Called by a definer, connected to SPI; valid until the next call. */
const PawlOffer *
pawl_offer(ArrayType *names, ArrayType *versions)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[2] = {PointerGetDatum(names), PointerGetDatum(versions)};
	MemoryContext context;
	MemoryContext old;
	PawlOffer  *made;
	ArrayType  *made_names;
	ArrayType  *made_versions;
	uint64		current = 0;

	/* Before the snapshot that reads it. Without shared memory nobody tells of a change: it is read each time. */
	if (pawl_attach())
	{
		current = pg_atomic_read_u64(&pawl_shared->offers_generation);
		pg_memory_barrier();
		if (offer != NULL && !offer_doubted && offer->generation == current && same_array(names, offer_names) && same_array(versions, offer_versions))
			return offer;
	}
	check_handlers(names, versions);
	if (plan == NULL)
		plan = pawl_prepare("SELECT o.workflow_name, o.workflow_version, o.above, o.sql_handler FROM pawl.offered_versions($1, $2) o", 2,
						   ((Oid[]) {TEXTARRAYOID, INT4ARRAYOID}));
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the handlers");

	context = AllocSetContextCreate(CurrentMemoryContext, "pawl offer", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	made = make_offer(current);
	made_names = DatumGetArrayTypePCopy(PointerGetDatum(names));
	made_versions = DatumGetArrayTypePCopy(PointerGetDatum(versions));
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
	MemoryContextSetParent(context, TopMemoryContext);
	if (offer_context != NULL)
		MemoryContextDelete(offer_context);
	offer_context = context;
	offer_doubted = false;
	offer = made;
	offer_names = made_names;
	offer_versions = made_versions;
	return offer;
}

/* The next claim reads it anew. */
void
pawl_forget_offer(void)
{
	offer_doubted = true;
}

/* mark_offers() RETURNS void */
PG_FUNCTION_INFO_V1(pawl_mark_offers_1_0);
Datum
pawl_mark_offers_1_0(PG_FUNCTION_ARGS)
{
	pawl_mark_offers();
	PG_RETURN_VOID();
}
