internal import ArgumentParser

PawlCommand.main()
