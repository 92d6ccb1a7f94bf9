internal import ArgumentParser
internal import PluginRegistry

// Checking a plugin starts this program again, as a child that loads it.
PluginProbe.runIfRequested()
Terminal.failIfOutputIsLost()
PawlCommand.main()
