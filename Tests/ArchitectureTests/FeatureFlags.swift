// A misspelt feature in Package.swift is ignored without a word; here it stops the build. The settings are the same for every target.
#if !hasFeature(ExistentialAny)
    #error("ExistentialAny is not on: see the loop at the end of Package.swift")
#endif
#if !hasFeature(InternalImportsByDefault)
    #error("InternalImportsByDefault is not on: see the loop at the end of Package.swift")
#endif
#if !hasFeature(MemberImportVisibility)
    #error("MemberImportVisibility is not on: see the loop at the end of Package.swift")
#endif
#if !hasFeature(NonisolatedNonsendingByDefault)
    #error("NonisolatedNonsendingByDefault is not on: see the loop at the end of Package.swift")
#endif
#if swift(<6)
    #error("the language mode is not Swift 6: see the loop at the end of Package.swift")
#endif
