package import FoundationEssentials

/// Payloads as handlers read and write them, for PawlTesting.
package enum PayloadAccess {
    package static func encode(_ value: some Encodable) throws -> Data { try PayloadCoding.encode(value) }

    package static func decode<Value: Decodable>(_ type: Value.Type, from json: Data) throws -> Value { try PayloadCoding.decode(type, from: json) }

    /// An error as it is recorded.
    package static func failure(from json: Data) throws -> WorkflowFailure { try PayloadCoding.decode(RecordedFailure.self, from: json).failure }

    /// The failure as which an error that a body throws is recorded.
    package static func failure(recording error: any Error) -> WorkflowFailure { WorkflowFailure(recording: error) }
}
