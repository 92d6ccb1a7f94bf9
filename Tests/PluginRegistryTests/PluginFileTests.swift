import Glibc
@testable import PluginRegistry
import Testing

/// What is known of a file before any of its code runs.
@Suite struct PluginFileTests {
    let workshop: Workshop
    init() throws { workshop = try Workshop() }

    func refusal(_ path: String) -> PluginRefusal? {
        do throws(PluginRefusal) {
            _ = try PluginFile.inspect(path: path)
            return nil
        } catch {
            return error
        }
    }

    func refusal(_ bytes: [UInt8]) -> PluginRefusal? {
        bytes.withUnsafeBytes { buffer in
            do throws(PluginRefusal) {
                _ = try PluginFile.inspect(buffer, name: "a.so")
                return nil
            } catch {
                return error
            }
        }
    }

    @Test func aPluginIsRead() throws {
        let file = try PluginFile.inspect(path: workshop.build("good.c"))
        #expect(file.name == "good.so")
        #expect(file.interfaceVersion == 1)
        #expect(file.sdk == "c")
        #expect(!file.compiler.isEmpty)
        #expect(file.neededLibraries.contains { $0.hasPrefix("libc.so") })
        #expect(file.warnings.isEmpty)
    }

    @Test(arguments: [
        ["-Wl,--hash-style=sysv"], ["-Wl,--hash-style=gnu"], ["-Wl,--hash-style=both"], ["-s"], ["-O2", "-flto"], ["-Wl,--gc-sections", "-ffunction-sections"],
        ["-Wl,-z,noseparate-code"],
    ])
    func pluginsOfEveryLinkingAreRead(flags: [String]) throws {
        let file = try PluginFile.inspect(path: workshop.build("good.c", flags: flags))
        #expect(file.sdk == "c")
    }

    @Test func clangAndItsLinkerAreRead() throws {
        // The toolchain that builds this has both.
        try workshop.run(
            "clang", ["-fuse-ld=lld", "-shared", "-fPIC", "-I", Workshop.header, "\(Workshop.fixtures)/good.c", "-o", "\(workshop.plugins)/clang.so"])
        let file = try PluginFile.inspect(path: "\(workshop.plugins)/clang.so")
        #expect(file.compiler.lowercased().contains("clang"))
    }

    @Test func moreExportsAreOnlyAWarning() throws {
        let file = try PluginFile.inspect(path: workshop.build("good.c", flags: ["-DEXTRA", "-include", "\(Workshop.fixtures)/no_symbol.c", "-DNO_NOTE"]))
        #expect(file.warnings.count == 1)
        #expect(file.warnings.first?.contains("something_else") == true)
    }

    @Test func whatIsNoPluginIsRefused() throws {
        #expect(refusal("\(workshop.plugins)/nowhere.so")?.code == .unreadable)
        #expect(refusal(workshop.plugins)?.code == .unreadable)
        #expect(mkfifo("\(workshop.plugins)/pipe.so", 0o600) == 0)
        #expect(refusal("\(workshop.plugins)/pipe.so")?.code == .unreadable)
        #expect(refusal(Array("#!/bin/sh\n".utf8))?.code == .notELF)
        #expect(refusal([])?.code == .notELF)
        let missing = try #require(refusal(try workshop.build("no_symbol.c")))
        #expect(missing.code == .noRegisterFunction)
        #expect(missing.description.hasPrefix("no_symbol.so does not export the function pawl_plugin_register. Define it"))
        #expect(refusal("/proc/self/exe")?.code == .notSharedLibrary)
        try workshop.run("cc", ["-c", "-I", Workshop.header, "\(Workshop.fixtures)/good.c", "-o", "\(workshop.plugins)/object.so"])
        #expect(refusal("\(workshop.plugins)/object.so")?.code == .notSharedLibrary)
    }

    @Test func aRegisterFunctionThatIsDataIsRefused() throws {
        try workshop.write(Array("int pawl_plugin_register = 1;\n".utf8), to: "data.c")
        #expect(refusal(try workshop.build("\(workshop.plugins)/data.c", as: "data.so"))?.code == .noRegisterFunction)
    }

    @Test func otherInterfaceVersionsAreRefused() throws {
        let newer = try #require(refusal(try workshop.build("good.c", as: "newer.so", ["INTERFACE": "2"])))
        #expect(newer.code == .newerInterface)
        #expect(newer.description.hasPrefix("newer.so was built for plugin interface 2, and this pawld speaks 1. Upgrade pawld"))
        let older = try #require(refusal(try workshop.build("good.c", as: "older.so", ["INTERFACE": "0"])))
        #expect(older.code == .olderInterface)
        #expect(older.description.hasPrefix("older.so was built for plugin interface 0, and this pawld speaks 1. Build"))
        #expect(refusal(try workshop.build("good.c", as: "word.so", ["INTERFACE": "one"]))?.code == .noNote)
        #expect(refusal(try workshop.build("good.c", as: "none.so", ["NO_NOTE": ""]))?.code == .noNote)
    }

    @Test func aSharedSwiftRuntimeIsRefused() throws {
        try workshop.run(
            "swiftc", ["-emit-library", "-module-name", "Shared", "-o", "\(workshop.plugins)/shared.so", "\(Workshop.fixtures)/shared_runtime.swift"])
        let shared = try #require(refusal("\(workshop.plugins)/shared.so"))
        #expect(shared.code == .sharedRuntime)
        #expect(shared.problem.contains("libswift"))
        #expect(shared.cure.contains("pawl plugin build"))
    }

    @Test(arguments: [
        "libdispatch.so", "libBlocksRuntime.so", "libFoundation.so", "lib_FoundationICU.so", "libFoundationEssentials.so", "libswift_Concurrency.so",
    ])
    func everyRuntimeLibraryIsRefused(library: String) throws {
        try workshop.write(Array("int nothing;\n".utf8), to: "nothing.c")
        try workshop.build("\(workshop.plugins)/nothing.c", as: library, flags: ["-Wl,-soname,\(library)"])
        let path = try workshop.build("good.c", flags: ["-Wl,--no-as-needed", "-L\(workshop.plugins)", "-l:\(library)"])
        let shared = try #require(refusal(path))
        #expect(shared.code == .sharedRuntime)
        #expect(shared.problem.contains(library))
    }

    @Test func anotherMachineIsRefused() throws {
        var bytes = try workshop.bytes(of: workshop.build("good.c"))
        bytes[18] = bytes[18] == 62 ? 183 : 62
        let other = try #require(refusal(bytes))
        #expect(other.code == .wrongMachine)
        #expect(other.problem.contains("x86-64") && other.problem.contains("aarch64"))
        bytes[4] = 1
        #expect(refusal(bytes)?.code == .wrongMachine)
    }

    /// Cut anywhere, a file is refused, and the reader stays within it.
    @Test(arguments: [["-Wl,--hash-style=sysv"], ["-s"]]) func truncatedAtEveryLength(flags: [String]) throws {
        let bytes = try workshop.bytes(of: workshop.build("good.c", flags: flags))
        #expect(refusal(bytes) == nil)
        for length in 0..<bytes.count {
            // An allocation of that very size: reading past it is seen by the address sanitizer.
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 16)
            defer { copy.deallocate() }
            copy.copyBytes(from: bytes[..<length])
            do throws(PluginRefusal) {
                _ = try PluginFile.inspect(UnsafeRawBufferPointer(copy), name: "a.so")
                Issue.record("a file of \(bytes.count) bytes was taken with \(length) of them")
            } catch {
                #expect(error.code == .truncated || (length < 4 && error.code == .notELF))
            }
        }
    }

    /// Changed anywhere, a file is read or refused: nothing traps, reads outside of it, or takes for ever.
    @Test func randomBytesNeverCrashTheReader() throws {
        let original = try workshop.bytes(of: workshop.build("good.c", flags: ["-s", "-Wl,--hash-style=both"]))
        var random = SplitMix(state: 0x7061_776c)
        var refused = 0
        // Half of the changes go where the headers and the dynamic section are.
        let interesting = Array(0..<1024) + Array(original.count - 2400..<original.count)
        for round in 0..<20_000 {
            var bytes = original
            for _ in 0...Int(random.next() % 6) {
                let index = round % 2 == 0 ? interesting[Int(random.next() % UInt64(interesting.count))] : Int(random.next() % UInt64(bytes.count))
                bytes[index] = UInt8(truncatingIfNeeded: random.next() % 4 == 0 ? 0xff : random.next())
            }
            if refusal(bytes) != nil { refused += 1 }
        }
        #expect(refused > 1000)
    }

    @Test func randomRubbishNeverCrashesTheReader() throws {
        let original = try workshop.bytes(of: workshop.build("good.c"))
        var random = SplitMix(state: 1)
        for _ in 0..<5000 {
            // The first bytes stay, so that the reader goes on.
            let bytes = original[..<20] + (0..<Int(random.next() % 600)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            #expect(refusal(Array(bytes)) != nil)
        }
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
