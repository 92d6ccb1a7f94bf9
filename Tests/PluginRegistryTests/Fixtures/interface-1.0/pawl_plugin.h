/*
 * pawl_plugin.h: the interface between pawld (the host) and a plugin.
 *
 * A plugin is a shared library that exports one symbol, pawl_plugin_register, and carries one ELF note,
 * PAWL_PLUGIN_NOTE, from which the loader reads the interface version before it runs any of the plugin's code.
 * Examples/hello is a whole plugin in C.
 *
 * Loading     The loader copies the file, checks it, loads and registers it once in a child process that is thrown away, and
 *             then loads it into the daemon, for the life of the process: a plugin is never unloaded.  So constructors and
 *             pawl_plugin_register run in two processes; let them have no effect outside.  Each must return within 10 seconds.
 * Ownership   Every pointer handed over, in either direction, is borrowed for the duration of that call only; the
 *             receiver copies what it keeps.  Exceptions: the pawl_host table and its `host` stay valid for the life of
 *             the process, also what the table's pointers lead to; a pawl_run stays valid from start() until release() has
 *             returned, and using it later is use after free; the `context` pointers are the plugin's own and only ever
 *             handed back.
 * Threads     Every host function may be called on any thread, also inside start() or a completion, until the run was
 *             released.  No host function blocks.  The host calls a plugin (start, completions, interrupt, release) on a
 *             delivery thread that the plugin has to itself, one call at a time and never with a lock held.  A plugin that
 *             blocks there delays only itself.
 * Completion  A completion is called exactly once for each asynchronous call: on the delivery thread, or, for a call that
 *             is refused at this boundary (PAWL_MISUSE), on the calling thread before that call returns.  step_begin and
 *             transaction_begin answer synchronously: see there.  A completion that is NULL tells nobody.
 * Growth      Tables and structs begin with their size in bytes, set by the side that made them (pawl_bytes alone has none
 *             and never changes); new members go at the end; a reader looks at no member that lies past the size, and takes
 *             it as zero.  A plugin that needs a host function checks that it lies within the table's size.
 *             PAWL_INTERFACE_VERSION changes only when that is not enough: then a plugin must be rebuilt, and is refused
 *             until it is.
 * Texts       UTF-8 without U+0000.  A workflow, step or scope name is not empty and at most 128 bytes long.
 * Payloads    UTF-8 JSON texts, one value each.  The host checks each at this boundary: invalid UTF-8 or JSON, U+0000 or a
 *             lone surrogate, numbers jsonb cannot hold, nesting over 512 levels or a size over pawl.max_payload (1 MB)
 *             fail the step they belong to with an error that names the JSON path.
 * Errors      No exception, longjmp or Swift error may cross.  A crash in a plugin is a crash of the worker.
 * Flags       Every `flags` is 0; a flag that this host does not know is PAWL_MISUSE, not ignored.
 */
#ifndef PAWL_PLUGIN_H
#define PAWL_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PAWL_INTERFACE_VERSION 1

/* Before the definition of pawl_plugin_register; with -fvisibility=hidden it is then the one symbol exported. */
#ifdef __cplusplus
#define PAWL_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define PAWL_EXPORT __attribute__((visibility("default")))
#endif

/* Bytes, not NUL-terminated.  data == NULL: absent (an SQL NULL, no value). */
typedef struct pawl_bytes {
    const void *data;
    size_t size;
} pawl_bytes;

/* The pawl_bytes of a string literal. */
#ifdef __cplusplus
#define PAWL_TEXT(literal) (pawl_bytes{"" literal, sizeof(literal) - 1})
#else
#define PAWL_TEXT(literal) ((pawl_bytes) {"" literal, sizeof(literal) - 1})
#endif

/* One run of a workflow's handler: from start() until release() has returned.  The host's. */
typedef struct pawl_run pawl_run;

/* One sequential branch of a run.  Step names are unique within their scope, and repeats (`#2`, `#3`) are counted per scope in its
 * program order, so that a run that replays in another interleaving still finds its own steps. */
typedef uint32_t pawl_scope;
#define PAWL_ROOT_SCOPE ((pawl_scope) 0)
#define PAWL_INVALID_SCOPE ((pawl_scope) UINT32_MAX)

typedef int32_t pawl_status;
enum {
    PAWL_OK = 0,
    PAWL_EXECUTE = 1,   /* step_begin, transaction_begin: nothing is recorded; execute the body, then call …_end */
    PAWL_NONE = 2,      /* reserved for waits: the timeout passed */
    PAWL_ERROR = 3,     /* a recorded or definite failure: see `error` */
    PAWL_CANCELLED = 4, /* reserved: the workflow is being cancelled */
    PAWL_STOPPED = 5,   /* the run is over for the host (fenced, shutting down, parked, connection lost): release what is held and
                           call finish().  What finish() then says is ignored.  Every later call of the run answers this at once. */
    PAWL_MISUSE = 6,    /* the call broke a rule (a second call in a busy scope, a step in a step, a recorded step of another
                           kind, an unknown scope, a malformed argument): see `error`.  Nothing was begun, ended or recorded by it; whether the
                           run fails is the handler's to say. */
    PAWL_RETRY = 7      /* transaction_end: a serialization failure or deadlock undid it, and a new transaction is open in the scope;
                           execute the body again (no transaction_begin), then transaction_end */
};

/* A failure.  `code` is a short stable word that callers branch on ("payment_declined"), `type` the type in the handler's
 * language, `message` a sentence for a person, `detail` a JSON value or absent; an absent text is the empty one.  Bytes in
 * code, type and message that are not UTF-8, and U+0000, become U+FFFD.  A run that finishes with code "bad_input" (its input
 * cannot be decoded) ends with status_reason bad_input, any other with error. */
typedef struct pawl_error {
    uint32_t size;
    uint32_t flags; /* 0 */
    pawl_bytes code, type, message, detail;
    /* Where it happened, when the host hands it over: the step's full name, the JSON of the error beneath, the attempt.  A handler that
     * finishes with a step's failure passes them on; of an error of its own they are absent and 0.  Ending a step, they are not read. */
    pawl_bytes step, cause;
    int32_t attempt;
    uint32_t reserved; /* 0 */
} pawl_error;

typedef struct pawl_result {
    uint32_t size;
    pawl_status status;
    pawl_bytes value;        /* JSON, with PAWL_OK; absent: JSON null (the host itself never leaves it out where a value is due) */
    const pawl_error *error; /* with PAWL_ERROR and PAWL_MISUSE, else NULL */
} pawl_result;

typedef void (*pawl_completion)(void *context, const pawl_result *result);

/* What a run begins with. */
typedef struct pawl_start {
    uint32_t size;
    int32_t workflow_version;   /* the handler version this run executes */
    int32_t recoveries;         /* how often a crash interrupted this workflow before */
    int32_t priority;
    pawl_bytes workflow_id, workflow_name, queue;
    pawl_bytes partition_key;   /* absent: none */
    pawl_bytes input;           /* JSON */
    pawl_bytes headers;         /* JSON or absent */
    pawl_bytes attributes;      /* JSON or absent */
    int64_t created_at;         /* microseconds since 1970-01-01T00:00:00Z */
} pawl_start;

/* Offered by register_handler, which copies it and the name; context and functions are used for the life of the process. */
typedef struct pawl_handler {
    uint32_t size;
    int32_t workflow_version;   /* at least 1 */
    pawl_bytes workflow_name;
    void *context;              /* handed to start() */
    /* Begin a run and return at once; the result is the run's context, and may be NULL.  `run` may be used at once, also to finish.
     * Then or later, on any thread: finish(run), exactly once.  Required. */
    void *(*start)(void *context, pawl_run *run, const pawl_start *start);
    /* Advice to stop soon, because every call now answers `reason` (PAWL_STOPPED); at most once; never after release.  Outstanding
     * calls are answered PAWL_STOPPED too.  finish() is still due.  May be NULL. */
    void (*interrupt)(void *run_context, pawl_status reason);
    /* The last call about the run: finish() was called, no completion is outstanding, interrupt will not be called.  Free the context
     * here.  It may come on the delivery thread before finish() has returned on another.  May be NULL. */
    void (*release)(void *run_context);
} pawl_handler;

typedef struct pawl_step_options {
    uint32_t size;
    uint32_t flags; /* 0 */
} pawl_step_options;

enum { PAWL_READ_COMMITTED = 0, PAWL_REPEATABLE_READ = 1, PAWL_SERIALIZABLE = 2 };
typedef struct pawl_transaction_options {
    uint32_t size;
    uint32_t isolation; /* one of the three above */
} pawl_transaction_options;

/*
 * The result of SQL is one JSON object (the `value` of the completion):
 *   {"columns": [["id", 20], ["name", 25]], "rows": [["1", "Ada"], ["2", null]], "affected": 2}
 * columns: name and type OID; rows: each value in PostgreSQL's text form, or null; affected: the command's row count.
 * Parameters $1, $2, … are texts whose types the server infers; data == NULL is an SQL NULL.  `parameters` may be NULL if there are none.
 */
typedef struct pawl_host {
    uint32_t size;
    uint32_t interface_version;
    void *host;

    /* Only during pawl_plugin_register.  PAWL_OK, or PAWL_MISUSE (empty or over-long name, version < 1, no start(), the same name and
     * version twice): the reason is in the host's log, and the plugin is refused whatever it returns. */
    pawl_status (*register_handler)(void *host, const pawl_handler *handler);

    /* level: 0 trace, 1 debug, 2 info, 3 notice, 4 warning, 5 error, 6 critical.  run may be NULL; given, the line carries its
     * workflow_id and epoch. */
    void (*log)(void *host, pawl_run *run, int32_t level, pawl_bytes message);

    /* End the run with PAWL_OK and a JSON value, with PAWL_ERROR and an error, or, having been told to stop, with PAWL_STOPPED.  Exactly
     * once: a second end is ignored and logged, unless the run was released meanwhile (then it is use after free); a run that never
     * finishes keeps its place among the worker's running workflows. */
    void (*finish)(pawl_run *run, const pawl_result *outcome);

    /* A scope below `parent`; `name` is unique below it (repeats get #2, #3).  Paths read `left/a`, `charge[42]/reserve#2`.
     * PAWL_INVALID_SCOPE if `parent` is unknown or the name is empty or too long. */
    pawl_scope (*branch)(pawl_run *run, pawl_scope parent, pawl_bytes name);

    /* A step.  Answers at once: PAWL_EXECUTE, and then `answer` is not called; or what is recorded (PAWL_OK, PAWL_ERROR), PAWL_MISUSE or
     * PAWL_STOPPED, and then `answer` was called with it, on this thread, before this returns.  options may be NULL. */
    pawl_status (*step_begin)(pawl_run *run, pawl_scope scope, pawl_bytes name, const pawl_step_options *options,
                              pawl_completion answer, void *context);
    /* Record the step's outcome: PAWL_OK with a value or PAWL_ERROR with an error.  `done` comes after the commit: PAWL_OK, or
     * PAWL_ERROR with the failure that was recorded (the given one, or that the value could not be stored), or PAWL_STOPPED. */
    void (*step_end)(pawl_run *run, pawl_scope scope, const pawl_result *outcome, pawl_completion done, void *context);

    /* A transaction: a step whose SQL and checkpoint commit together.  Answers like step_begin. */
    pawl_status (*transaction_begin)(pawl_run *run, pawl_scope scope, pawl_bytes name, const pawl_transaction_options *options,
                                     pawl_completion answer, void *context);
    /* SQL inside the scope's open transaction, one statement at a time.  PAWL_ERROR has code = SQLSTATE; after it the transaction only
     * accepts transaction_end. */
    void (*transaction_execute)(pawl_run *run, pawl_scope scope, pawl_bytes sql, const pawl_bytes *parameters, size_t parameter_count,
                                pawl_completion done, void *context);
    /* PAWL_OK: commit with the checkpoint; PAWL_ERROR: roll back and record the failure.  `done` as step_end's, or PAWL_RETRY. */
    void (*transaction_end)(pawl_run *run, pawl_scope scope, const pawl_result *outcome, pawl_completion done, void *context);

    /* A read-only query, recorded as a step: a replay gets the same rows. */
    void (*query)(pawl_run *run, pawl_scope scope, pawl_bytes name, pawl_bytes sql, const pawl_bytes *parameters, size_t parameter_count,
                  pawl_completion done, void *context);
} pawl_host;

/* The one exported symbol:
 *     PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) { … }
 * 0: registered; anything else: the plugin refuses this host, and is not used (what it logged before is shown with the refusal).
 * Register nothing later. */
typedef int32_t (*pawl_plugin_register_fn)(const pawl_host *host);

#define PAWL_STRINGIFY_(x) #x
#define PAWL_STRINGIFY(x) PAWL_STRINGIFY_(x)
#define PAWL_NOTE_TEXT(sdk) "interface=" PAWL_STRINGIFY(PAWL_INTERFACE_VERSION) ";sdk=" sdk ";compiler=" __VERSION__
/* In exactly one C file of a plugin, at file scope (the Swift SDK brings its own): PAWL_PLUGIN_NOTE("c") */
#define PAWL_PLUGIN_NOTE(sdk)                                                                              \
    __attribute__((used, aligned(4), section(".note.pawl"))) static const struct {                        \
        uint32_t name_size, text_size, type;                                                               \
        char name[8];                                                                                      \
        char text[sizeof(PAWL_NOTE_TEXT(sdk))];                                                            \
    } pawl_plugin_note = {5, sizeof(PAWL_NOTE_TEXT(sdk)), 1, "PAWL", PAWL_NOTE_TEXT(sdk)}

#ifdef __cplusplus
}
#endif
#endif
