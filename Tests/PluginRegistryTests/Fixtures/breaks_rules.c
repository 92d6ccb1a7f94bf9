/*
 * Calls the host in every wrong way that the host can notice, and finishes with a JSON array of what it was answered: for each call its
 * result, or the status that its completion got.
 */
#include "pawl_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

PAWL_PLUGIN_NOTE("c");

static const pawl_host *pawl;

typedef struct answers {
    pawl_run *run;
    char text[8192];
    int completions;
} answers;

static void note(answers *answers, const char *what, int status) {
    size_t used = strlen(answers->text);
    snprintf(answers->text + used, sizeof answers->text - used, "%s\"%s %d\"", used ? "," : "[", what, status);
}

static pawl_status last;
static char message[1024];
static void answered(void *context, const pawl_result *result) {
    ((answers *) context)->completions++;
    message[0] = '\0';
    if (result->error != NULL)
        snprintf(message, sizeof message, "%.*s", (int) result->error->message.size, (const char *) result->error->message.data);
    last = result->error != NULL && result->error->message.size == 0 ? -1 : result->status;
}

/* The completion's status, or -2 if it was not called before the call returned. */
static int immediate(void) {
    int status = last;
    last = -2;
    return status;
}

/* The status, if the message says these words; else -3. */
static int saying(const char *words) {
    int status = immediate();
    return strstr(message, words) != NULL ? status : -3;
}

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context, (void) start;
    answers *a = calloc(1, sizeof *a);
    a->run = run;
    last = -2;

    note(a, "begin, no run", pawl->step_begin(NULL, 0, PAWL_TEXT("s"), NULL, answered, a));
    note(a, "answer", immediate());
    note(a, "begin, no completion", pawl->step_begin(NULL, 0, PAWL_TEXT("s"), NULL, NULL, NULL));
    note(a, "begin, no name", pawl->step_begin(run, 0, (pawl_bytes) {NULL, 0}, NULL, answered, a));
    note(a, "answer", immediate());
    note(a, "begin, empty name", pawl->step_begin(run, 0, PAWL_TEXT(""), NULL, answered, a));
    note(a, "answer", immediate());
    note(a, "begin, not UTF-8", pawl->step_begin(run, 0, PAWL_TEXT("\xc3("), NULL, answered, a));
    note(a, "answer", immediate());
    note(a, "begin, unknown scope", pawl->step_begin(run, 77, PAWL_TEXT("s"), NULL, answered, a));
    note(a, "answer", immediate());
    pawl_step_options options = {.size = sizeof options, .flags = 4};
    note(a, "begin, unknown flags", pawl->step_begin(run, 0, PAWL_TEXT("s"), &options, answered, a));
    note(a, "answer", saying("4; it knows PAWL_STEP_COMPENSATION (1)"));
    pawl_retry sizeless_retry = {.size = 4, .max_attempts = 2};
    options = (pawl_step_options) {.size = sizeof options, .retry = &sizeless_retry};
    note(a, "begin, sizeless retry", pawl->step_begin(run, 0, PAWL_TEXT("s"), &options, answered, a));
    note(a, "answer", saying("sizeof (pawl_retry)"));
    options = (pawl_step_options) {.size = sizeof options, .flags = PAWL_STEP_COMPENSATION};
    note(a, "begin, compensation too early", pawl->step_begin(run, 0, PAWL_TEXT("s"), &options, answered, a));
    note(a, "answer", saying("before compensate()"));
    pawl_transaction_options isolation = {.size = sizeof isolation, .isolation = 9};
    note(a, "transaction, unknown isolation", pawl->transaction_begin(run, 0, PAWL_TEXT("t"), &isolation, answered, a));
    note(a, "answer", saying("9; it knows PAWL_READ_COMMITTED (0)"));
    isolation = (pawl_transaction_options) {.size = sizeof isolation, .flags = 4};
    note(a, "transaction, unknown flags", pawl->transaction_begin(run, 0, PAWL_TEXT("t"), &isolation, answered, a));
    note(a, "answer", saying("the transaction's options have flags that this pawld does not know: 4"));
    note(a, "branch, no run", pawl->branch(NULL, 0, PAWL_TEXT("b")) == PAWL_INVALID_SCOPE);
    note(a, "branch, unknown parent", pawl->branch(run, 77, PAWL_TEXT("b")) == PAWL_INVALID_SCOPE);
    pawl->step_end(run, 0, NULL, answered, a);
    note(a, "end, no outcome", immediate());
    pawl_result stopped = {.size = sizeof stopped, .status = PAWL_STOPPED};
    pawl->step_end(run, 0, &stopped, answered, a);
    note(a, "end, stopped", immediate());
    pawl_result unknown = {.size = sizeof unknown, .status = 99};
    pawl->step_end(run, 0, &unknown, answered, a);
    note(a, "end, unknown status", immediate());
    pawl_result sizeless = {.size = 4};
    pawl->step_end(run, 0, &sizeless, answered, a);
    note(a, "end, no status", immediate());
    pawl_result cancelled = {.size = sizeof cancelled, .status = PAWL_CANCELLED};
    pawl->step_end(run, 0, &cancelled, answered, a);
    note(a, "end, cancelled", saying("not with PAWL_CANCELLED"));
    pawl_error flagged_error = {.size = sizeof flagged_error, .flags = 6};
    pawl_result flagged = {.size = sizeof flagged, .status = PAWL_ERROR, .error = &flagged_error};
    pawl->step_end(run, 0, &flagged, answered, a);
    note(a, "end, unknown error flags", saying("6; it knows PAWL_ERROR_FINAL (1)"));
    pawl->call(NULL, 0, PAWL_TEXT("now"), PAWL_TEXT("n"), PAWL_TEXT("{}"), answered, a);
    note(a, "call, no run", immediate());
    pawl->call(run, 0, PAWL_TEXT("nap"), PAWL_TEXT("n"), PAWL_TEXT("{}"), answered, a);
    note(a, "call, unknown kind", saying("no kind \"nap\" in this pawld; there are now, uuid, random, patch, send, set_event,"));
    pawl->call(run, 0, PAWL_TEXT("step"), PAWL_TEXT("n"), PAWL_TEXT("{}"), answered, a);
    note(a, "call, a step", saying("no kind \"step\""));
    pawl->call(run, 0, (pawl_bytes) {NULL, 0}, PAWL_TEXT("n"), PAWL_TEXT("{}"), answered, a);
    note(a, "call, no kind", saying("no kind was given"));
    pawl->call(run, 0, PAWL_TEXT("now"), PAWL_TEXT("\xff"), PAWL_TEXT("{}"), answered, a);
    note(a, "call, no name", saying("name"));
    pawl->call(run, 0, PAWL_TEXT("now"), PAWL_TEXT("n"), (pawl_bytes) {NULL, 0}, answered, a);
    note(a, "call, no arguments", saying("{} if there are none"));
    pawl->emit(run, 0, PAWL_TEXT("log"), PAWL_TEXT("{}"), answered, a);
    note(a, "emit, unknown kind", saying("no kind \"log\" in this pawld; there are progress, stream"));
    pawl->emit(run, 0, PAWL_TEXT("progress"), (pawl_bytes) {NULL, 0}, answered, a);
    note(a, "emit, no arguments", saying("a JSON object"));
    pawl->compensate(run, NULL, answered, a);
    note(a, "compensate, no outcome", immediate());
    pawl->compensate(NULL, &cancelled, answered, a);
    note(a, "compensate, no run", immediate());
    pawl->continue_as_new(run, (pawl_bytes) {NULL, 0}, answered, a);
    note(a, "continue, no input", immediate());
    pawl->offer(run, 77, 3, &flagged); /* ignored, and logged */
    pawl->offer(NULL, 0, 0, NULL);
    pawl->close_branch(run, 77);
    pawl->close_branch(NULL, 0);
    note(a, "branch, is_cancelled and attempt of nothing", pawl->is_cancelled(NULL) == 0 && pawl->is_cancelled(run) == 0 && pawl->attempt(run, 77) == 0);
    pawl->query(run, 0, PAWL_TEXT("q"), PAWL_TEXT("\xff"), NULL, 0, answered, a);
    note(a, "query, not UTF-8", immediate());
    pawl->query(run, 0, PAWL_TEXT("q"), PAWL_TEXT("get"), NULL, 2, answered, a);
    note(a, "query, no parameters", immediate());
    pawl->transaction_execute(run, 0, PAWL_TEXT("get"), (pawl_bytes[]) {PAWL_TEXT("x")}, 70000, answered, a);
    note(a, "execute, too many parameters", immediate());
    pawl->log(pawl->host, NULL, 99, PAWL_TEXT("a \xff level"));
    pawl->log(pawl->host, run, -5, PAWL_TEXT("trace"));
    strcat(a->text, "]");

    pawl_result outcome = {.size = sizeof outcome, .status = PAWL_OK, .value = {a->text, strlen(a->text)}};
    pawl->finish(NULL, &outcome);
    pawl->finish(run, &outcome);
    pawl->finish(run, &outcome); /* released only after start() has returned */
    return a;
}

static void release(void *run_context) {
    free(run_context);
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl = host;
    pawl_handler handler = {
        .size = sizeof handler, .workflow_version = 1, .workflow_name = PAWL_TEXT("breaks_rules"), .start = start, .release = release};
    return host->register_handler(host->host, &handler);
}
