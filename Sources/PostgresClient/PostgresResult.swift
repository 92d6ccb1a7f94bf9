import CLibPQ

/// The answer to one statement. Owns libpq's result; values are read from it in place.
package final class PostgresResult {
    private let pointer: OpaquePointer
    package let rowCount: Int
    package let columnCount: Int

    /// Takes the result over.
    init(_ pointer: OpaquePointer) {
        self.pointer = pointer
        rowCount = Int(PQntuples(pointer))
        columnCount = Int(PQnfields(pointer))
    }

    deinit { PQclear(pointer) }

    package func isNull(_ row: Int, _ column: Int) -> Bool { PQgetisnull(pointer, Int32(row), Int32(column)) == 1 }

    /// The bytes of a value as they came; valid as long as the result is.
    package func bytes(_ row: Int, _ column: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: PQgetvalue(pointer, Int32(row), Int32(column)), count: Int(PQgetlength(pointer, Int32(row), Int32(column))))
    }

    /// Binary `bigint`, and every other eight-byte integer.
    package func int64(_ row: Int, _ column: Int) -> Int64 {
        Int64(bigEndian: bytes(row, column).loadUnaligned(as: Int64.self))
    }

    package func int32(_ row: Int, _ column: Int) -> Int32 {
        Int32(bigEndian: bytes(row, column).loadUnaligned(as: Int32.self))
    }

    package func bool(_ row: Int, _ column: Int) -> Bool { bytes(row, column)[0] != 0 }

    /// Binary `text`, or any value in text form.
    package func string(_ row: Int, _ column: Int) -> String { String(decoding: bytes(row, column), as: UTF8.self) }

    package func optionalString(_ row: Int, _ column: Int) -> String? { isNull(row, column) ? nil : string(row, column) }

    /// Binary `jsonb`: its JSON text, without the version byte.
    package func json(_ row: Int, _ column: Int) -> [UInt8] { [UInt8](bytes(row, column).dropFirst()) }

    package func optionalJSON(_ row: Int, _ column: Int) -> [UInt8]? { isNull(row, column) ? nil : json(row, column) }

    /// Binary `timestamptz` as microseconds since 1970-01-01T00:00:00Z.
    package func microseconds(_ row: Int, _ column: Int) -> Int64 { int64(row, column) &+ PostgresEpoch.microseconds }

    /// Binary `interval` without days and months, in microseconds; days count 24 hours, months 30 days.
    package func intervalMicroseconds(_ row: Int, _ column: Int) -> Int64 {
        let value = bytes(row, column)
        let time = Int64(bigEndian: value.loadUnaligned(as: Int64.self))
        let days = Int64(Int32(bigEndian: value.loadUnaligned(fromByteOffset: 8, as: Int32.self)))
        let months = Int64(Int32(bigEndian: value.loadUnaligned(fromByteOffset: 12, as: Int32.self)))
        return time &+ (months &* 30 &+ days) &* 86_400_000_000
    }

    package func columnName(_ column: Int) -> UnsafeRawBufferPointer {
        guard let name = PQfname(pointer, Int32(column)) else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: name, count: String(cString: name).utf8.count)
    }

    package func columnType(_ column: Int) -> UInt32 { PQftype(pointer, Int32(column)) }

    /// `COMMIT`, `INSERT 0 1`, …
    package var commandTag: String { PQcmdStatus(pointer).map { String(cString: $0) } ?? "" }

    /// How many rows the command touched; 0 for one that does not say.
    package var affectedRows: Int { PQcmdTuples(pointer).flatMap { Int(String(cString: $0)) } ?? 0 }
}

/// PostgreSQL counts from 2000-01-01.
package enum PostgresEpoch {
    package static let microseconds: Int64 = 946_684_800_000_000
}
