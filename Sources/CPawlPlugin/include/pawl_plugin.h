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
 *             transaction_begin answer synchronously, except with PAWL_PENDING: see there.  A completion that is NULL tells nobody.
 * Growth      Tables and structs begin with their size in bytes, set by the side that made them (pawl_bytes alone has none
 *             and never changes); new members go at the end; a reader looks at no member that lies past the size, and takes
 *             it as zero.  A plugin that needs a host function checks that it lies within the table's size.
 *             PAWL_INTERFACE_VERSION changes only when that is not enough: then a plugin must be rebuilt, and is refused
 *             until it is.
 * Texts       UTF-8 without U+0000.  A workflow, step or scope name is not empty and at most 128 bytes long.
 * Payloads    UTF-8 JSON texts, one value each.  The host checks each at this boundary: invalid UTF-8 or JSON, U+0000 or a
 *             lone surrogate, numbers jsonb cannot hold, nesting over 512 levels or a size over pawl.max_payload (1 MB)
 *             fail the step they belong to with an error that names the JSON path.
 * Intervals   Microseconds; 0 or negative: the default, or none.
 * Errors      No exception, longjmp or Swift error may cross.  A crash in a plugin is a crash of the worker.
 * Flags       A flag that this host does not know is PAWL_MISUSE, not ignored.
 * Cancelling  When the workflow is cancelled, or its deadline passes, every outstanding and later call that is not part of a compensation
 *             answers PAWL_CANCELLED, and interrupt() is called with it.  A body that runs goes on; what it ends with is discarded.
 *             However the handler then finishes, the workflow ends cancelled (or failed, reason timeout).
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
    PAWL_NONE = 2,      /* call: the timeout of a wait passed; recorded, and so for ever */
    PAWL_ERROR = 3,     /* a recorded or definite failure: see `error` */
    PAWL_CANCELLED = 4, /* the workflow is being cancelled: compensate() if there is something to undo, then finish() */
    PAWL_STOPPED = 5,   /* the run is over for the host (fenced, shutting down, parked, connection lost): release what is held and
                           call finish().  What finish() then says is ignored.  Every later call of the run answers this at once. */
    PAWL_MISUSE = 6,    /* the call broke a rule (a second call in a busy scope, a step in a step, a recorded step of another
                           kind, an unknown scope, a malformed argument): see `error`.  Nothing was begun, ended or recorded by it; whether the
                           run fails is the handler's to say. */
    PAWL_RETRY = 7,     /* step_end, transaction_end: this attempt failed (or a serialization failure or deadlock undid it), and its back-off
                           is over; in the scope of a transaction a new one is open.  Execute the body again (no …_begin), then …_end */
    PAWL_PENDING = 8    /* step_begin, transaction_begin: the back-off of an attempt before a restart is not over; `answer` is called later, with
                           PAWL_EXECUTE, PAWL_ERROR (the time of all attempts is up), PAWL_CANCELLED or PAWL_STOPPED */
};

enum {
    PAWL_ERROR_FINAL = 1 /* a flag of pawl_error, ending a step: do not retry it */
};

/* A failure.  `code` is a short stable word that callers branch on ("payment_declined"), `type` the type in the handler's
 * language, `message` a sentence for a person, `detail` a JSON value or absent; an absent text is the empty one.  Bytes in
 * code, type and message that are not UTF-8, and U+0000, become U+FFFD.  A run that finishes with code "bad_input" (its input
 * cannot be decoded) ends with status_reason bad_input, any other with error. */
typedef struct pawl_error {
    uint32_t size;
    uint32_t flags; /* PAWL_ERROR_FINAL or 0 */
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
    int64_t deadline_at;        /* the same; 0: none */
    pawl_bytes parent_workflow_id; /* absent: it is nobody's child */
    int32_t attempt;            /* runs of this workflow so far, this one included: 1 for the first */
    uint32_t reserved;          /* 0 */
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
    /* Advice to stop soon, because every call now answers `reason`: PAWL_CANCELLED at most once, then perhaps PAWL_STOPPED, at most once;
     * never after release.  Outstanding calls are answered so too.  finish() is still due.  May be NULL. */
    void (*interrupt)(void *run_context, pawl_status reason);
    /* The last call about the run: finish() was called, no completion is outstanding, interrupt will not be called.  Free the context
     * here.  It may come on the delivery thread before finish() has returned on another.  May be NULL. */
    void (*release)(void *run_context);
    /* The time of the attempt whose body runs in `scope` is up: end it with an error whose code is "timeout".  At most once for each attempt;
     * it may come just after the attempt has ended.  May be NULL: then no timeout is enforced. */
    void (*interrupt_step)(void *run_context, pawl_scope scope);
} pawl_handler;

/* When a step or transaction that failed is tried again.  Zero is each member's default. */
typedef struct pawl_retry {
    uint32_t size;
    int32_t max_attempts;       /* 5; 1: never again */
    int64_t initial_interval;   /* before the second attempt: 1 s; each is drawn at random between 0 and this (full jitter) */
    int64_t maximum_interval;   /* 60 s */
    int64_t attempt_timeout;    /* of one attempt: none */
    int64_t timeout;            /* of all attempts and the waits between them, from the first attempt's start: none */
    double factor;              /* by which the interval grows: 2 */
} pawl_retry;

enum {
    PAWL_STEP_COMPENSATION = 1  /* a flag of pawl_step_options and pawl_transaction_options: it undoes something, after compensate() */
};
typedef struct pawl_step_options {
    uint32_t size;
    uint32_t flags;             /* PAWL_STEP_COMPENSATION or 0 */
    const pawl_retry *retry;    /* NULL: the defaults */
} pawl_step_options;

enum { PAWL_READ_COMMITTED = 0, PAWL_REPEATABLE_READ = 1, PAWL_SERIALIZABLE = 2 };
typedef struct pawl_transaction_options {
    uint32_t size;
    uint32_t isolation;         /* one of the three above */
    const pawl_retry *retry;    /* NULL: the defaults.  An error that PostgreSQL raised is final, unless its SQLSTATE is a transient one (40001,
                                   40P01, 55P03, classes 08, 53 and 57P) */
    uint32_t flags;             /* PAWL_STEP_COMPENSATION or 0 */
    uint32_t reserved;          /* 0 */
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

    /* A step.  Answers at once: PAWL_EXECUTE, and then `answer` is not called; or PAWL_PENDING, and then it is called later; or what is recorded
     * (PAWL_OK, PAWL_ERROR), PAWL_MISUSE, PAWL_CANCELLED or PAWL_STOPPED, and then `answer` was called with it, on this thread, before this
     * returns.  options may be NULL. */
    pawl_status (*step_begin)(pawl_run *run, pawl_scope scope, pawl_bytes name, const pawl_step_options *options,
                              pawl_completion answer, void *context);
    /* Record the step's outcome: PAWL_OK with a value or PAWL_ERROR with an error.  `done` comes after the commit: PAWL_OK, or
     * PAWL_ERROR with the failure that was recorded (the given one, or that the value could not be stored), PAWL_RETRY once the back-off of a
     * failed attempt is over, PAWL_CANCELLED (the outcome was discarded) or PAWL_STOPPED. */
    void (*step_end)(pawl_run *run, pawl_scope scope, const pawl_result *outcome, pawl_completion done, void *context);

    /* A transaction: a step whose SQL and checkpoint commit together.  Answers like step_begin. */
    pawl_status (*transaction_begin)(pawl_run *run, pawl_scope scope, pawl_bytes name, const pawl_transaction_options *options,
                                     pawl_completion answer, void *context);
    /* SQL inside the scope's open transaction, one statement at a time.  PAWL_ERROR has code = SQLSTATE; after it the transaction only
     * accepts transaction_end. */
    void (*transaction_execute)(pawl_run *run, pawl_scope scope, pawl_bytes sql, const pawl_bytes *parameters, size_t parameter_count,
                                pawl_completion done, void *context);
    /* PAWL_OK: commit with the checkpoint; PAWL_ERROR: roll back and record the failure.  `done` as step_end's. */
    void (*transaction_end)(pawl_run *run, pawl_scope scope, const pawl_result *outcome, pawl_completion done, void *context);

    /* A read-only query, recorded as a step: a replay gets the same rows. */
    void (*query)(pawl_run *run, pawl_scope scope, pawl_bytes name, pawl_bytes sql, const pawl_bytes *parameters, size_t parameter_count,
                  pawl_completion done, void *context);

    /* A durable call: a step whose work the host does.  `kind` and `arguments`, a JSON object, are those of docs/durable-calls.md: sleep,
     * receive, send, set_event, get_event, write_stream, close_stream, read_stream, merge_attributes, start_child, await_child,
     * await_children, cancel_workflow, race, now, uuid, random, patch.  Another kind, or arguments of another shape, is PAWL_MISUSE.
     * PAWL_OK with the value, PAWL_NONE (the timeout of a wait passed), PAWL_ERROR, PAWL_CANCELLED or PAWL_STOPPED. */
    void (*call)(pawl_run *run, pawl_scope scope, pawl_bytes kind, pawl_bytes name, pawl_bytes arguments, pawl_completion done, void *context);

    /* What alternative `index` (from 0, of kind "step") of the race that is outstanding in `scope` has come to.  The race's own completion tells
     * who won; an offer to a race that is over, or to none, is ignored. */
    void (*offer)(pawl_run *run, pawl_scope scope, uint32_t index, const pawl_result *outcome);

    /* Writes a value that is no step, also from inside a step's body; at least once.  kind "progress": {"value": …}, the latest counts; kind
     * "stream": {"key": text, "value": …}, appended with the step's name and attempt.  `done` after the commit, or, for progress, when it
     * was taken: PAWL_OK, PAWL_ERROR, PAWL_CANCELLED or PAWL_STOPPED. */
    void (*emit)(pawl_run *run, pawl_scope scope, pawl_bytes kind, pawl_bytes arguments, pawl_completion done, void *context);

    /* The handler has failed with `outcome` (PAWL_ERROR), or was answered PAWL_CANCELLED (`outcome` with that status), and has something to
     * undo.  After PAWL_OK only steps and transactions with PAWL_STEP_COMPENSATION are allowed, in any scope; then finish(), which ends the
     * workflow with `outcome` whatever it is given.  Not allowed while another call is outstanding or a step is open. */
    void (*compensate)(pawl_run *run, const pawl_result *outcome, pawl_completion done, void *context);

    /* Ends the run and begins the workflow anew, under the same id, with `input` (JSON) and no recorded steps.  `done` answers PAWL_STOPPED, or
     * PAWL_MISUSE or PAWL_ERROR if it cannot (a step is open, the input is no JSON); finish() is still due. */
    void (*continue_as_new)(pawl_run *run, pawl_bytes input, pawl_completion done, void *context);

    /* The branch is not used any more: a run whose open branches all wait can be parked.  The root's is never closed. */
    void (*close_branch)(pawl_run *run, pawl_scope scope);

    /* 1: the workflow is being cancelled; else 0.  For long bodies; any thread. */
    int32_t (*is_cancelled)(pawl_run *run);

    /* The attempt of the step or transaction that is open in `scope`, from 1; 0: none is.  A call that was not answered from the record is open
     * too, until its completion is on its way: so a plugin knows right after call() whether the bodies of a race are to run. */
    int32_t (*attempt)(pawl_run *run, pawl_scope scope);
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
