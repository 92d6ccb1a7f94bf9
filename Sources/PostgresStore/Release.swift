/// Of this build: `pawl.workers` shows it, and both programs answer it to --version.
package enum Release {
    package static let current = "0.1.0"
}
