/*
 * compat.h
 *		One source for PostgreSQL 14 to 18: the newest API in the code, older servers adapted here.
 */
#ifndef PAWL_COMPAT_H
#define PAWL_COMPAT_H

#if PG_VERSION_NUM < 140000
#error "pawl needs PostgreSQL 14 or later"
#endif

#if PG_VERSION_NUM < 160000
/* Asked of functions only. */
#define object_aclcheck(class, object, role, mode) pg_proc_aclcheck(object, role, mode)
#endif

#if PG_VERSION_NUM < 150000
#define InitMaterializedSRF(fcinfo, flags) pawl_materialize(fcinfo)
extern void pawl_materialize(FunctionCallInfo fcinfo);
#define MarkGUCPrefixReserved(name) EmitWarningsOnPlaceholders(name)
#endif

#endif
