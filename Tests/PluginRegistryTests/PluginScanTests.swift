import Glibc
import PluginRegistry
import Testing
import WorkflowEngine

/// Which plugins of a directory are loaded, and what is said about the rest.
@Suite struct PluginScanTests {
    let workshop: Workshop
    init() throws { workshop = try Workshop() }

    private func id(_ name: String, _ version: Int32 = 1) -> HandlerID { HandlerID(workflowName: name, workflowVersion: version) }

    @Test func goodOnesLoadAndTheRestIsIgnored() throws {
        try workshop.build("good.c", as: "b.so", ["NAME": quoted("b")])
        try workshop.build("good.c", as: "a.so", ["NAME": quoted("a"), "VERSION": "3"])
        try workshop.build("good.c", as: ".hidden.so", ["NAME": quoted("hidden")])
        try workshop.write([], to: "notes.txt")
        let registry = workshop.registry()
        let scan = registry.scan()
        #expect(scan.refusals == [])
        #expect(scan.loaded == ["a.so", "b.so"])
        #expect(scan.plugins.map(\.file) == ["a.so", "b.so"])
        #expect(scan.plugins.map(\.sdk) == ["c", "c"])
        #expect(scan.handlers == [id("a", 3), id("b")])
        #expect(registry.handlers == scan.handlers)
    }

    @Test func anEmptyOrMissingDirectory() throws {
        #expect(workshop.registry().scan().refusals == [])
        #expect(rmdir(workshop.plugins) == 0)
        let scan = workshop.registry().scan()
        #expect(scan.refusals.map(\.code) == [.unreadable])
        #expect(scan.refusals.first?.description.contains("No such file or directory") == true)
    }

    /// Every kind of bad plugin at once: each is refused with its reason, and the good ones around them load.
    @Test func badOnesAreRefusedAndTakeNothingWithThem() throws {
        try workshop.build("good.c", as: "a-good.so", ["NAME": quoted("first")])
        let bytes = try workshop.bytes(of: workshop.build("good.c", as: "z-good.so", ["NAME": quoted("last")]))
        try workshop.write(bytes.dropLast(100), to: "truncated.so")
        try workshop.write(Array("not a library".utf8), to: "text.so")
        try workshop.build("no_symbol.c")
        try workshop.build("good.c", as: "newer.so", ["INTERFACE": "2"])
        try workshop.build("misbehaves.c", as: "crash.so", ["BEHAVIOUR": "CRASH"])
        try workshop.build("misbehaves.c", as: "crash-early.so", ["BEHAVIOUR": "CRASH", "IN_CONSTRUCTOR": ""])
        try workshop.build("misbehaves.c", as: "abort.so", ["BEHAVIOUR": "ABORT"])
        try workshop.build("misbehaves.c", as: "exit.so", ["BEHAVIOUR": "EXIT"])
        try workshop.build("misbehaves.c", as: "refuse.so", ["BEHAVIOUR": "REFUSE"])
        try workshop.build("misbehaves.c", as: "nothing.so", ["BEHAVIOUR": "NOTHING"])
        try workshop.build("throws.cpp")
        try workshop.build("undefined.c")
        let scan = workshop.registry().scan()
        #expect(scan.loaded == ["a-good.so", "z-good.so"])
        let refusals = Dictionary(uniqueKeysWithValues: scan.refusals.map { ($0.file, $0) })
        func expect(_ file: String, _ code: PluginRefusal.Code, _ parts: String...) {
            #expect(refusals[file]?.code == code, "\(file)")
            for part in parts { #expect(refusals[file]?.description.contains(part) == true, "\(refusals[file]?.description ?? "no refusal of \(file)")") }
        }
        #expect(refusals.count == 12)
        expect("truncated.so", .truncated, "cut short")
        expect("text.so", .notELF)
        expect("no_symbol.so", .noRegisterFunction)
        expect("newer.so", .newerInterface)
        expect("crash.so", .crashed, "SIGSEGV", "in pawl_plugin_register")
        expect("crash-early.so", .crashed, "SIGSEGV", "in a constructor")
        expect("abort.so", .crashed, "SIGABRT", "It printed last: the carrier's certificate is missing")
        expect("exit.so", .exited, "exit status 7")
        expect("refuse.so", .registerFailed, "returned 3", "the carrier's key is not set:\n\tset CARRIER_KEY")
        expect("nothing.so", .noHandlers)
        expect("throws.so", .crashed, "SIGABRT")
        expect("undefined.so", .notLoadable, "undefined symbol: buy_label", "cannot be loaded: undefined.so:")
    }

    @Test(arguments: [nil, "IN_CONSTRUCTOR"]) func oneThatHangsIsRefusedInTime(constructor: String?) throws {
        var defines = ["BEHAVIOUR": "HANG"]
        if let constructor { defines[constructor] = "" }
        try workshop.build("misbehaves.c", as: "hangs.so", defines)
        try workshop.build("good.c", as: "later.so")
        // Long enough for the good one on a busy machine.
        let scan = workshop.registry(deadline: .seconds(4)).scan()
        #expect(scan.refusals.map(\.code) == [.hung])
        #expect(scan.refusals.first?.problem.contains("did not return within 4 s") == true)
        #expect(scan.loaded == ["later.so"])
    }

    /// It passed its trial and hangs in the daemon: the scan goes on without it.
    @Test func oneThatHangsOnlyHereIsRefusedInTime() throws {
        try workshop.build("misbehaves.c", as: "hangs.so", ["BEHAVIOUR": "HANG", "ONCE_PROBED": quoted("\(workshop.root)/mark")])
        try workshop.build("good.c", as: "later.so")
        let registry = workshop.registry(deadline: .seconds(4))
        let scan = registry.scan()
        #expect(scan.refusals.map(\.code) == [.hung])
        #expect(scan.refusals.first?.problem.contains("though it did in its trial") == true)
        #expect(scan.loaded == ["later.so"])
        #expect(registry.handlers == [id("good")])
    }

    @Test func oneThatRefusesOnlyHereIsRefused() throws {
        try workshop.build("misbehaves.c", as: "refuses.so", ["BEHAVIOUR": "REFUSE_LATER", "ONCE_PROBED": quoted("\(workshop.root)/mark")])
        let registry = workshop.registry()
        #expect(registry.scan().refusals.map(\.code) == [.registerFailed])
        #expect(registry.handlers == [])
    }

    @Test(arguments: [
        ("TWICE", "is registered twice"), ("EMPTY_NAME", "1 to 128 bytes"), ("LONG_NAME", "1 to 128 bytes"), ("NOT_UTF8", "UTF-8"),
        ("VERSION_ZERO", "at least 1"), ("NO_START", "no start function"), ("SMALL", "sizeof (pawl_handler)"), ("NO_HANDLER", "NULL"),
    ])
    func handlersThatBreakARuleRefuseTheirPlugin(breaks: String, message: String) throws {
        try workshop.build("bad_handler.c", ["BREAKS": breaks])
        let registry = workshop.registry()
        let scan = registry.scan()
        #expect(scan.refusals.map(\.code) == [.badHandler])
        #expect(scan.refusals.first?.description.contains(message) == true, "\(scan.refusals)")
        #expect(registry.handlers == [])
    }

    @Test func twoVersionsRunSideBySide() throws {
        try workshop.build("good.c", as: "shop-1.so", ["VERSION": "1"])
        try workshop.build("good.c", as: "shop-2.so", ["VERSION": "2"])
        let scan = workshop.registry().scan()
        #expect(scan.refusals == [])
        #expect(scan.handlers == [id("good", 1), id("good", 2)])
    }

    @Test func theSameHandlerInTwoPluginsIsRefusedInTheLaterOne() throws {
        try workshop.build("good.c", as: "a.so")
        try workshop.build("good.c", as: "b.so", ["STAMP": quoted("another build")])
        let scan = workshop.registry().scan()
        #expect(scan.loaded == ["a.so"])
        #expect(scan.refusals.map(\.code) == [.conflict])
        #expect(scan.refusals.first?.problem == "offers handler \"good\" version 1, which a.so has already")
        #expect(scan.refusals.first?.file == "b.so")
    }

    @Test func theSameContentLoadsOnce() throws {
        try workshop.build("good.c", as: "a.so")
        try workshop.write(workshop.bytes(of: "\(workshop.plugins)/a.so"), to: "b.so")
        let registry = workshop.registry()
        let scan = registry.scan()
        #expect(scan.loaded == ["a.so"])
        #expect(scan.refusals == [])
        #expect(scan.warnings == ["b.so is the same plugin as a.so, which is loaded: ignored"])
        let again = registry.scan()
        #expect(again.loaded == [])
        #expect(again.refusals == [])
        #expect(again.plugins == scan.plugins)
    }

    @Test func aReloadTakesWhatIsNew() throws {
        try workshop.build("good.c", as: "shop.so", ["VERSION": "1"])
        let registry = workshop.registry()
        #expect(registry.scan().handlers == [id("good", 1)])

        // The same version from a changed file: the old one stays.
        try workshop.build("good.c", as: "new", ["VERSION": "1", "STAMP": quoted("changed")])
        try workshop.move("new", to: "shop.so")
        let changed = registry.scan()
        #expect(changed.loaded == [])
        #expect(changed.refusals.map(\.code) == [.changed])
        #expect(changed.refusals.first?.description.contains("keeps handler \"good\" version 1. Raise the version") == true)
        #expect(registry.handlers == [id("good", 1)])

        // A new version from the changed file: both run.
        try workshop.build("good.c", as: "new", ["VERSION": "2"])
        try workshop.move("new", to: "shop.so")
        let raised = registry.scan()
        #expect(raised.loaded == ["shop.so"])
        #expect(raised.refusals == [])
        #expect(registry.handlers == [id("good", 1), id("good", 2)])

        // Gone: what is loaded stays.
        #expect(unlink("\(workshop.plugins)/shop.so") == 0)
        #expect(registry.scan().handlers == [id("good", 1), id("good", 2)])
    }

    @Test func overwritingALoadedPluginDoesNotTouchIt() throws {
        let path = try workshop.build("good.c", as: "shop.so")
        let registry = workshop.registry()
        _ = registry.scan()
        // In place, as a careless copy does: mapped from there, the code would change or vanish under the process.
        #expect(truncate(path, 0) == 0)
        let scan = registry.scan()
        #expect(scan.refusals.map(\.code) == [.notELF])
        #expect(registry.handlers == [id("good")])
    }

    @Test func anUnsafePrivateDirectoryIsRefused() throws {
        try workshop.build("good.c")
        #expect(mkdir(workshop.copies, 0o777) == 0 && chmod(workshop.copies, 0o777) == 0)
        let open = workshop.registry().scan()
        #expect(open.refusals.map(\.code) == [.privateDirectory])
        #expect(open.loaded == [])
        #expect(rmdir(workshop.copies) == 0 && symlink(workshop.plugins, workshop.copies) == 0)
        #expect(workshop.registry().scan().refusals.map(\.code) == [.privateDirectory])
    }

    @Test func copiesArePrivate() throws {
        try workshop.build("good.c")
        _ = workshop.registry().scan()
        var facts = stat()
        #expect(stat(workshop.copies, &facts) == 0 && facts.st_mode & 0o777 == 0o700)
    }

    @Test func aProbeThatCannotStartIsSaid() throws {
        try workshop.build("good.c")
        let registry = PluginRegistry(
            directory: workshop.plugins, privateDirectory: workshop.copies, log: { _ in }, probe: PluginProbe(program: "/nowhere/pawl"))
        let scan = registry.scan()
        #expect(scan.refusals.map(\.code) == [.probeFailed])
        #expect(scan.refusals.first?.problem.contains("No such file or directory") == true)
    }
}
