/// Why a plugin is not used, for the person who put it there: which file, what is wrong with it, and what to do.
package struct PluginRefusal: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of refusal it is; callers and tests branch on it.
    package struct Code: RawRepresentable, Hashable, Sendable {
        package let rawValue: String
        package init(rawValue: String) { self.rawValue = rawValue }

        /// The file or the directory cannot be read.
        package static let unreadable = Code(rawValue: "unreadable")
        /// Not an ELF file at all.
        package static let notELF = Code(rawValue: "not_elf")
        /// ELF, but a program, an object file or the like.
        package static let notSharedLibrary = Code(rawValue: "not_shared_library")
        /// For another kind of processor.
        package static let wrongMachine = Code(rawValue: "wrong_machine")
        /// Cut short.
        package static let truncated = Code(rawValue: "truncated")
        /// The file contradicts itself.
        package static let damaged = Code(rawValue: "damaged")
        /// Does not export `pawl_plugin_register`.
        package static let noRegisterFunction = Code(rawValue: "no_register_function")
        /// No readable `PAWL_PLUGIN_NOTE`.
        package static let noNote = Code(rawValue: "no_note")
        /// Built for an interface version that this host no longer speaks.
        package static let olderInterface = Code(rawValue: "older_interface")
        /// Built for an interface version that this host does not speak yet.
        package static let newerInterface = Code(rawValue: "newer_interface")
        /// Needs a Swift runtime that it would share with other plugins.
        package static let sharedRuntime = Code(rawValue: "shared_runtime")
        /// There is no private directory to load from.
        package static let privateDirectory = Code(rawValue: "private_directory")
        /// The probe process could not be started.
        package static let probeFailed = Code(rawValue: "probe_failed")
        /// The dynamic linker refused it.
        package static let notLoadable = Code(rawValue: "not_loadable")
        /// It crashed while it was loaded or registered.
        package static let crashed = Code(rawValue: "crashed")
        /// It ended its process while it was loaded or registered.
        package static let exited = Code(rawValue: "exited")
        /// Loading or registering it did not end in time.
        package static let hung = Code(rawValue: "hung")
        /// `pawl_plugin_register` returned something else than 0.
        package static let registerFailed = Code(rawValue: "register_failed")
        /// It offered a handler that breaks a rule.
        package static let badHandler = Code(rawValue: "bad_handler")
        /// It registered nothing.
        package static let noHandlers = Code(rawValue: "no_handlers")
        /// Another plugin has a handler of that name and version.
        package static let conflict = Code(rawValue: "conflict")
        /// An earlier build of the same file has the handlers, and keeps them.
        package static let changed = Code(rawValue: "changed")
    }

    package var code: Code
    /// The file, or the directory, as the operator named it.
    package var file: String
    /// What is wrong, as the rest of a sentence that begins with the file.
    package var problem: String
    /// What to do about it, as a sentence.
    package var cure: String

    package init(_ code: Code, file: String, problem: String, cure: String) {
        self.code = code
        self.file = file
        self.problem = problem
        self.cure = cure
    }

    package var description: String { "\(file) \(problem). \(cure)" }
}
