/* The ELF note by which the loader recognises a plugin made with the Swift SDK. */
#ifndef CPAWL_NOTE_H
#define CPAWL_NOTE_H

/* The note's text. Calling it makes the linker keep the object file that holds the note, and with it the note. */
const char *pawl_sdk_note(void);

#endif
