/// What a handler's SQL statement is, from its first words. The extended protocol takes one statement at a time, so the first words decide.
enum LeadingKeyword {
    enum Verdict: Equatable {
        case allowed
        /// Leaves something in the session that a cheap reset does not undo.
        case dirties
        /// Would end or replace the transaction around it.
        case controlsTransaction(String)
    }

    static func judge(_ sql: String) -> Verdict {
        var words = Words(sql)
        let first = words.next()
        switch first {
        case "COMMIT", "END", "ABORT", "BEGIN", "START": return .controlsTransaction(first)
        case "ROLLBACK":
            // ROLLBACK [WORK | TRANSACTION] TO a savepoint stays inside.
            var second = words.next()
            if second == "WORK" || second == "TRANSACTION" { second = words.next() }
            return second == "TO" ? .allowed : .controlsTransaction(first)
        case "PREPARE": return words.next() == "TRANSACTION" ? .controlsTransaction("PREPARE TRANSACTION") : .dirties
        case "DEALLOCATE", "DISCARD", "LOAD": return .dirties
        default: return .allowed
        }
    }

    /// Words in upper case; white space, comments and empty statements between them are skipped, as the server does.
    private struct Words {
        private var rest: Substring.UTF8View
        init(_ text: String) { rest = Substring(text).utf8 }

        mutating func next() -> String {
            skip()
            var word: [UInt8] = []
            while let byte = rest.first, byte.isWordByte {
                word.append(byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") ? byte - 32 : byte)
                rest.removeFirst()
            }
            return String(decoding: word, as: UTF8.self)
        }

        private mutating func skip() {
            while let byte = rest.first {
                if byte == 32 || (9...13).contains(byte) || byte == UInt8(ascii: ";") {
                    rest.removeFirst()
                } else if rest.starts(with: "--".utf8) {
                    while let byte = rest.first, byte != 10, byte != 13 { rest.removeFirst() }
                } else if rest.starts(with: "/*".utf8) {
                    rest.removeFirst(2)
                    var depth = 1
                    while depth > 0, !rest.isEmpty {
                        if rest.starts(with: "/*".utf8) {
                            depth += 1
                            rest.removeFirst(2)
                        } else if rest.starts(with: "*/".utf8) {
                            depth -= 1
                            rest.removeFirst(2)
                        } else {
                            rest.removeFirst()
                        }
                    }
                } else {
                    return
                }
            }
        }
    }
}

extension UInt8 {
    fileprivate var isWordByte: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"),
            0x80...:
            true
        default: false
        }
    }
}
