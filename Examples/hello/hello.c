/*
 * hello.c: a whole Pawl plugin in C.
 *
 * It offers three workflows:
 *
 *   hello          one step; its output is {"greeting": "Hello", "to": <the workflow's input>}
 *   hello_record   one transaction, which inserts the greeting into the table hello_greeting and is checkpointed by the same commit:
 *                  however often a worker is killed, there is one row for each workflow
 *   hello_reply    one durable call: it waits up to a day for a message of topic "reply", and its output is that message, or null
 *
 * A handler is a small state machine.  start() begins its first call; each completion looks at what came of the last call and begins the
 * next one, or finishes.  After a crash, Pawl runs the handler again from the top, and step_begin and transaction_begin answer with
 * what is recorded instead of PAWL_EXECUTE: the code below needs to do nothing else for that.
 */
#include "pawl_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lets the loader see, before it runs anything, which interface this was built for. */
PAWL_PLUGIN_NOTE("c");

/* The host's functions.  They stay valid for the life of the process. */
static const pawl_host *pawl;

/* What we keep for a run.  `input` is a copy: pointers that Pawl hands over are only good during that call. */
typedef struct greeting {
    pawl_run *run;
    size_t input_size;
    char workflow_id[513]; /* an id has at most 512 bytes */
    char input[];
} greeting;

static greeting *new_greeting(pawl_run *run, const pawl_start *start) {
    greeting *greeting = malloc(sizeof *greeting + start->input.size);
    if (greeting == NULL) return NULL;
    greeting->run = run;
    greeting->input_size = start->input.size;
    memcpy(greeting->input, start->input.data, start->input.size);
    memcpy(greeting->workflow_id, start->workflow_id.data, start->workflow_id.size);
    greeting->workflow_id[start->workflow_id.size] = '\0';
    return greeting;
}

/* The last call about a run: nothing will use the context any more. */
static void release(void *run_context) {
    free(run_context);
}

/* Ends the run with a failure of our own. */
static void fail(pawl_run *run, pawl_bytes code, pawl_bytes message) {
    pawl_error error = {.size = sizeof error, .code = code, .type = PAWL_TEXT("hello"), .message = message};
    pawl_result outcome = {.size = sizeof outcome, .status = PAWL_ERROR, .error = &error};
    pawl->finish(run, &outcome);
}

/*
 * hello: one step
 */

static void hello_answered(void *context, const pawl_result *result);

/* The step's body.  It runs at least once, and exactly one of its outcomes is recorded.  A failure is tried again, a few times, unless its flags say
 * PAWL_ERROR_FINAL. */
static void hello_compose(greeting *greeting) {
    size_t room = greeting->input_size + 64;
    char *json = malloc(room);
    pawl_error error = {.size = sizeof error, .code = PAWL_TEXT("out_of_memory"), .type = PAWL_TEXT("hello"), .message = PAWL_TEXT("no memory for the greeting")};
    pawl_result outcome = {.size = sizeof outcome, .status = PAWL_ERROR, .error = &error};
    if (json != NULL) {
        int size = snprintf(json, room, "{\"greeting\": \"Hello\", \"to\": %.*s}", (int) greeting->input_size, greeting->input);
        outcome = (pawl_result) {.size = sizeof outcome, .status = PAWL_OK, .value = {json, (size_t) size}};
    }
    pawl->step_end(greeting->run, PAWL_ROOT_SCOPE, &outcome, hello_answered, greeting);
    free(json); /* step_end has copied it */
}

/* Asked to run the body (again); or the step is recorded, now or by an earlier run: then its result is the workflow's.  A failure, PAWL_CANCELLED and
 * PAWL_STOPPED are passed on just so. */
static void hello_answered(void *context, const pawl_result *result) {
    greeting *greeting = context;
    if (result->status == PAWL_RETRY || result->status == PAWL_EXECUTE)
        hello_compose(greeting);
    else
        pawl->finish(greeting->run, result);
}

static void *hello_start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context;
    greeting *greeting = new_greeting(run, start);
    if (greeting == NULL) {
        fail(run, PAWL_TEXT("out_of_memory"), PAWL_TEXT("no memory for the run"));
        return NULL;
    }
    /* Anything else, hello_answered has been told already, or will be. */
    if (pawl->step_begin(run, PAWL_ROOT_SCOPE, PAWL_TEXT("compose"), NULL, hello_answered, greeting) == PAWL_EXECUTE) hello_compose(greeting);
    return greeting;
}

/*
 * hello_record: one transaction
 */

static void record_inserted(void *context, const pawl_result *result);
static void record_committed(void *context, const pawl_result *result);

/* The transaction's body: as many statements as it likes, one after the other.  This one has a single one. */
static void record_insert(greeting *greeting) {
    pawl_bytes parameters[] = {
        {greeting->workflow_id, strlen(greeting->workflow_id)},
        {greeting->input, greeting->input_size}, /* the input is JSON: let PostgreSQL take it apart */
    };
    pawl->transaction_execute(greeting->run, PAWL_ROOT_SCOPE,
                              PAWL_TEXT("INSERT INTO hello_greeting (workflow_id, name) VALUES ($1, $2::jsonb ->> 'name')"), parameters,
                              sizeof parameters / sizeof *parameters, record_inserted, greeting);
}

/* The statement was run: commit it with the checkpoint, or roll back and record its failure. */
static void record_inserted(void *context, const pawl_result *result) {
    greeting *greeting = context;
    switch (result->status) {
        case PAWL_OK: {
            pawl_result outcome = {.size = sizeof outcome, .status = PAWL_OK, .value = PAWL_TEXT("{\"recorded\": true}")};
            pawl->transaction_end(greeting->run, PAWL_ROOT_SCOPE, &outcome, record_committed, greeting);
            break;
        }
        case PAWL_ERROR: /* its error, with the SQLSTATE as code, becomes the step's */
            pawl->transaction_end(greeting->run, PAWL_ROOT_SCOPE, result, record_committed, greeting);
            break;
        default: /* PAWL_CANCELLED, PAWL_STOPPED, PAWL_MISUSE: there is nothing to end */
            pawl->finish(greeting->run, result);
    }
}

/* Committed, now or by an earlier run; or the body is to run (again): another transaction undid it, or an attempt before a restart. */
static void record_committed(void *context, const pawl_result *result) {
    greeting *greeting = context;
    if (result->status == PAWL_RETRY || result->status == PAWL_EXECUTE)
        record_insert(greeting);
    else
        pawl->finish(greeting->run, result);
}

static void *record_start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context;
    greeting *greeting = new_greeting(run, start);
    if (greeting == NULL) {
        fail(run, PAWL_TEXT("out_of_memory"), PAWL_TEXT("no memory for the run"));
        return NULL;
    }
    if (pawl->transaction_begin(run, PAWL_ROOT_SCOPE, PAWL_TEXT("record"), NULL, record_committed, greeting) == PAWL_EXECUTE)
        record_insert(greeting);
    return greeting;
}

/*
 * hello_reply: one durable call
 */

static void reply_received(void *context, const pawl_result *result) {
    greeting *greeting = context;
    pawl_result outcome = *result;
    if (outcome.status == PAWL_NONE) outcome.status = PAWL_OK; /* nobody replied: no value, which is null */
    pawl->finish(greeting->run, &outcome);
}

/* While it waits, the workflow is rows in the database; when the message comes, this runs again, on whatever worker, and the call is answered. */
static void *reply_start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context;
    greeting *greeting = new_greeting(run, start);
    if (greeting == NULL) {
        fail(run, PAWL_TEXT("out_of_memory"), PAWL_TEXT("no memory for the run"));
        return NULL;
    }
    pawl->call(run, PAWL_ROOT_SCOPE, PAWL_TEXT("receive"), PAWL_TEXT("reply"), PAWL_TEXT("{\"topic\": \"reply\", \"timeout\": 86400}"), reply_received,
               greeting);
    return greeting;
}

/* The one symbol that this library exports.  Nothing may be waited for here, and nothing done outside: it also runs in a trial process. */
PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    /* A host that is older than this plugin has a smaller table.  `call` is the last member that we use. */
    if (host->size < offsetof(pawl_host, call) + sizeof host->call) {
        host->log(host->host, NULL, 5, PAWL_TEXT("hello needs a newer pawld"));
        return 1;
    }
    pawl = host;
    pawl_handler hello = {
        .size = sizeof hello, .workflow_version = 1, .workflow_name = PAWL_TEXT("hello"), .start = hello_start, .release = release};
    pawl_handler record = {
        .size = sizeof record, .workflow_version = 1, .workflow_name = PAWL_TEXT("hello_record"), .start = record_start, .release = release};
    pawl_handler reply = {
        .size = sizeof reply, .workflow_version = 1, .workflow_name = PAWL_TEXT("hello_reply"), .start = reply_start, .release = release};
    pawl_status status = host->register_handler(host->host, &hello);
    if (status == PAWL_OK) status = host->register_handler(host->host, &record);
    if (status == PAWL_OK) status = host->register_handler(host->host, &reply);
    return status;
}
