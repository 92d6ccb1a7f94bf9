internal import CPawlPlugin
internal import Glibc

/// The dynamic linker's two functions, with its words when they fail.
enum DynamicLibrary {
    typealias Register = @convention(c) (UnsafePointer<pawl_host>?) -> Int32

    /// Loads a library for the life of the process and finds its register function. Its constructors run on this thread.
    static func load(path: String) -> Result<Register, Failure> {
        guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL) else { return .failure(lastFailure()) }
        guard let symbol = dlsym(handle, PluginFile.registerSymbol) else { return .failure(lastFailure()) }
        // The interface gives the symbol this type.
        return .success(unsafeBitCast(symbol, to: Register.self))
    }

    struct Failure: Error { let text: String }

    private static func lastFailure() -> Failure {
        Failure(text: dlerror().map { String(cString: $0) } ?? "the dynamic linker gave no reason")
    }
}
