import ArgumentParser
import PluginRegistry

// Loading a plugin starts this program again, as a child that tries it out.
PluginProbe.runIfRequested()
Command.main()
