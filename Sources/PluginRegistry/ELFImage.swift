/// What is wrong with an ELF file; `PluginFile` turns it into a sentence for a person.
enum ELFError: Error, Equatable {
    case notELF
    case wrongClass
    case wrongMachine(UInt16)
    case notSharedLibrary
    /// The file should have this many bytes at least.
    case truncated(UInt64)
    case damaged(String)
}

/// A 64-bit little-endian ELF shared library, read without running, mapping or trusting any of it: every offset in it is checked, every
/// loop is bounded by the file's size. What it answers is what the dynamic linker would see (program headers and the dynamic section);
/// section headers serve only to notice a truncated file and to find a note that the linker put in no segment.
struct ELFImage {
    /// `e_machine` of the processor that this code runs on.
    #if arch(x86_64)
        static let hostMachine: UInt16 = 62
    #elseif arch(arm64)
        static let hostMachine: UInt16 = 183
    #else
        #error("plugins are checked for x86-64 and aarch64")
    #endif

    /// A symbol that the library defines and exports.
    struct Export: Equatable {
        var name: String
        var isFunction: Bool
    }

    private struct Segment {
        var address: UInt64
        var offset: UInt64
        var size: UInt64
    }

    private let bytes: CheckedBytes
    private var loads: [Segment] = []
    private var notes: [Segment] = []
    private var dynamic: [(tag: UInt64, value: UInt64)] = []
    /// Offset and size in the file.
    private var strings = (offset: UInt64(0), size: UInt64(0))

    /// Reads the headers. The image must not outlive `buffer`.
    init(_ buffer: UnsafeRawBufferPointer) throws(ELFError) {
        bytes = CheckedBytes(buffer)
        guard buffer.count >= 4, buffer[0] == 0x7f, buffer[1] == 0x45, buffer[2] == 0x4c, buffer[3] == 0x46 else { throw .notELF }
        guard bytes.count >= 64 else { throw .truncated(64) }
        guard buffer[4] == 2, buffer[5] == 1 else { throw .wrongClass }
        let machine: UInt16 = try bytes.load(18)
        guard machine == ELFImage.hostMachine else { throw .wrongMachine(machine) }
        let type: UInt16 = try bytes.load(16)
        guard type == 3 else { throw .notSharedLibrary }
        try readSegments()
        try readSections()
        try readDynamic()
    }

    private mutating func readSegments() throws(ELFError) {
        let table: UInt64 = try bytes.load(32)
        let entrySize: UInt16 = try bytes.load(54)
        let count: UInt16 = try bytes.load(56)
        guard entrySize == 56, count > 0 else { throw .damaged("its program headers have a size of \(entrySize)") }
        try bytes.require(table, UInt64(count) * 56)
        var dynamicSegment: Segment?
        for index in 0..<UInt64(count) {
            let header = table + index * 56
            let type: UInt32 = try bytes.load(header)
            let segment = Segment(
                address: try bytes.load(header + 16), offset: try bytes.load(header + 8), size: try bytes.load(header + 32))
            switch type {
            case 1:
                try bytes.require(segment.offset, segment.size)
                loads.append(segment)
            case 2:
                try bytes.require(segment.offset, segment.size)
                dynamicSegment = segment
            case 3: throw .notSharedLibrary  // PT_INTERP: a program
            case 4:
                try bytes.require(segment.offset, segment.size)
                notes.append(segment)
            default: break
            }
        }
        guard let dynamicSegment else { throw .damaged("it has no dynamic section") }
        var offset = dynamicSegment.offset
        let end = dynamicSegment.offset + dynamicSegment.size
        while offset + 16 <= end {
            let tag: UInt64 = try bytes.load(offset)
            if tag == 0 { break }
            dynamic.append((tag, try bytes.load(offset + 8)))
            offset += 16
        }
    }

    /// The section headers come last in the files that linkers write, so a file that was cut short lacks them.
    private mutating func readSections() throws(ELFError) {
        let table: UInt64 = try bytes.load(40)
        guard table != 0 else { return }
        let entrySize: UInt16 = try bytes.load(58)
        let count: UInt16 = try bytes.load(60)
        let namesIndex: UInt16 = try bytes.load(62)
        guard count == 0 || entrySize == 64 else { throw .damaged("its section headers have a size of \(entrySize)") }
        try bytes.require(table, UInt64(count) * 64)
        guard namesIndex < count else { return }
        let names: UInt64 = try bytes.load(table + UInt64(namesIndex) * 64 + 24)
        for index in 0..<UInt64(count) {
            let header = table + index * 64
            let type: UInt32 = try bytes.load(header + 4)
            // SHT_NULL and SHT_NOBITS take no room in the file.
            guard type != 0, type != 8 else { continue }
            let section = Segment(address: 0, offset: try bytes.load(header + 24), size: try bytes.load(header + 32))
            try bytes.require(section.offset, section.size)
            let name: UInt32 = try bytes.load(header)
            let (start, overflow) = names.addingReportingOverflow(UInt64(name))
            guard !overflow else { throw .damaged("a section's name lies outside it") }
            if try bytes.string(start) == ".note.pawl" { notes.append(section) }
        }
    }

    private mutating func readDynamic() throws(ELFError) {
        // DF_1_PIE: a program that has the form of a library.
        if let flags = value(0x6fff_fffb), flags & 0x0800_0000 != 0 { throw .notSharedLibrary }
        guard let address = value(5), let size = value(10), size > 0 else { throw .damaged("it has no dynamic strings") }
        let offset = try fileOffset(address)
        try bytes.require(offset, size)
        strings = (offset, size)
    }

    private func value(_ tag: UInt64) -> UInt64? { dynamic.first { $0.tag == tag }?.value }

    private func fileOffset(_ address: UInt64) throws(ELFError) -> UInt64 {
        for segment in loads where address >= segment.address && address - segment.address < segment.size {
            // Both lie within the file: readSegments saw to it.
            return address - segment.address + segment.offset
        }
        throw .damaged("an address in it leads outside of it")
    }

    private func dynamicString(_ index: UInt64) throws(ELFError) -> String {
        guard index < strings.size else { throw .damaged("a name in it lies outside its strings") }
        return try bytes.string(strings.offset + index)
    }

    /// The libraries that it needs (DT_NEEDED).
    func neededLibraries() throws(ELFError) -> [String] {
        var libraries: [String] = []
        for entry in dynamic where entry.tag == 1 { libraries.append(try dynamicString(entry.value)) }
        return libraries
    }

    /// The symbols that it defines and that others can see.
    func exports() throws(ELFError) -> [Export] {
        guard let address = value(6) else { throw .damaged("it has no dynamic symbols") }
        let table = try fileOffset(address)
        let count = try symbolCount()
        try bytes.require(table, UInt64(count) * 24)
        var exports: [Export] = []
        for index in 1..<max(UInt64(count), 1) {
            let symbol = table + index * 24
            let info: UInt8 = try bytes.load(symbol + 4)
            let visibility: UInt8 = try bytes.load(symbol + 5)
            let section: UInt16 = try bytes.load(symbol + 6)
            // Defined; global, weak or unique; default or protected.
            guard section != 0, [1, 2, 10].contains(info >> 4), [0, 3].contains(visibility & 3) else { continue }
            let name: UInt32 = try bytes.load(symbol)
            exports.append(Export(name: try dynamicString(UInt64(name)), isFunction: info & 15 == 2))
        }
        return exports
    }

    /// The dynamic section does not say how many symbols there are; the hash tables do.
    private func symbolCount() throws(ELFError) -> UInt32 {
        if let address = value(4) {
            return try bytes.load(try fileOffset(address) + 4)
        }
        guard let address = value(0x6fff_fef5) else { throw .damaged("it has no symbol hash table") }
        let table = try fileOffset(address)
        let buckets: UInt32 = try bytes.load(table)
        let first: UInt32 = try bytes.load(table + 4)
        let filter: UInt32 = try bytes.load(table + 8)
        let bucketTable = table + 16 + UInt64(filter) * 8
        try bytes.require(bucketTable, UInt64(buckets) * 4)
        var last: UInt32 = 0
        for index in 0..<UInt64(buckets) { last = max(last, try bytes.load(bucketTable + index * 4)) }
        guard last >= first else { return first }
        // The chain of the last bucket ends with the last symbol: the entry whose lowest bit is set.
        let chains = bucketTable + UInt64(buckets) * 4
        while true {
            let hash: UInt32 = try bytes.load(chains + UInt64(last - first) * 4)
            guard last < UInt32.max else { throw .damaged("its symbol hash table has no end") }
            last += 1
            if hash & 1 == 1 { return last }
        }
    }

    /// The texts of its notes of this owner, from segments and from the section `.note.pawl`.
    func noteTexts(owner: String) throws(ELFError) -> [String] {
        var texts: [String] = []
        for note in notes {
            var offset = note.offset
            let end = note.offset + note.size
            while offset + 12 <= end {
                let nameSize: UInt32 = try bytes.load(offset)
                let textSize: UInt32 = try bytes.load(offset + 4)
                let name = offset + 12
                let text = name + (UInt64(nameSize) + 3) / 4 * 4
                let next = text + (UInt64(textSize) + 3) / 4 * 4
                guard text + UInt64(textSize) <= end else { break }
                if Int(nameSize) == owner.utf8.count + 1, try bytes.string(name) == owner {
                    texts.append(try bytes.string(text, limit: UInt64(textSize)))
                }
                offset = next
            }
        }
        return texts
    }
}

/// Bytes of a file, with every access checked against its end.
struct CheckedBytes {
    private let buffer: UnsafeRawBufferPointer
    init(_ buffer: UnsafeRawBufferPointer) { self.buffer = buffer }
    var count: UInt64 { UInt64(buffer.count) }

    /// Throws unless that range lies within the file.
    func require(_ offset: UInt64, _ size: UInt64) throws(ELFError) {
        let (end, overflow) = offset.addingReportingOverflow(size)
        guard !overflow else { throw .damaged("an offset in it overflows") }
        guard end <= count else { throw .truncated(end) }
    }

    func load<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: UInt64) throws(ELFError) -> Value {
        try require(offset, UInt64(MemoryLayout<Value>.size))
        return Value(littleEndian: buffer.loadUnaligned(fromByteOffset: Int(offset), as: Value.self))
    }

    /// The text from there up to a NUL byte, or up to `limit` bytes; without a limit the NUL must come within 4,096.
    func string(_ offset: UInt64, limit: UInt64? = nil) throws(ELFError) -> String {
        try require(offset, limit ?? 1)
        let end = min(offset + min(limit ?? 4096, 65_536), count)
        let text = buffer[Int(offset)..<Int(end)]
        if let nul = text.firstIndex(of: 0) { return String(decoding: buffer[Int(offset)..<nul], as: UTF8.self) }
        guard limit != nil else { throw .damaged("a name in it has no end") }
        return String(decoding: text, as: UTF8.self)
    }
}
