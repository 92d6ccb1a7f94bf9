"""A thin layer over libpq, which building Pawl needs anyway."""

import ctypes
import ctypes.util
import time

_pq = ctypes.CDLL(ctypes.util.find_library("pq") or "libpq.so.5")
_pq.PQconnectdb.restype = ctypes.c_void_p
_pq.PQconnectdb.argtypes = [ctypes.c_char_p]
_pq.PQstatus.argtypes = [ctypes.c_void_p]
_pq.PQfinish.argtypes = [ctypes.c_void_p]
_pq.PQerrorMessage.restype = ctypes.c_char_p
_pq.PQerrorMessage.argtypes = [ctypes.c_void_p]
_pq.PQexecParams.restype = ctypes.c_void_p
_pq.PQexecParams.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
_pq.PQexec.restype = ctypes.c_void_p
_pq.PQexec.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_pq.PQresultStatus.argtypes = [ctypes.c_void_p]
_pq.PQresultErrorField.restype = ctypes.c_char_p
_pq.PQresultErrorField.argtypes = [ctypes.c_void_p, ctypes.c_int]
_pq.PQntuples.argtypes = [ctypes.c_void_p]
_pq.PQnfields.argtypes = [ctypes.c_void_p]
_pq.PQgetvalue.restype = ctypes.c_char_p
_pq.PQgetvalue.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
_pq.PQgetisnull.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
_pq.PQclear.argtypes = [ctypes.c_void_p]


class PostgresError(Exception):
    def __init__(self, message, sqlstate):
        super().__init__(f"{message.strip()} ({sqlstate})")
        self.sqlstate = sqlstate

    @property
    def is_transient(self):
        return not self.sqlstate or self.sqlstate[:2] in ("08", "57", "53", "40")


class Connection:
    """Reconnects by itself; `query` repeats what a lost connection undid, so what it is given must bear that."""

    def __init__(self, conninfo):
        self.conninfo = conninfo
        self.connection = None

    def close(self):
        if self.connection:
            _pq.PQfinish(self.connection)
        self.connection = None

    def once(self, sql, *parameters):
        if self.connection is None:
            self.connection = _pq.PQconnectdb(self.conninfo.encode())
            if _pq.PQstatus(self.connection) != 0:
                message = _pq.PQerrorMessage(self.connection).decode(errors="replace")
                self.close()
                raise PostgresError(message, "08006")
        if parameters:
            texts = (ctypes.c_char_p * len(parameters))(*[None if p is None else str(p).encode() for p in parameters])
            result = _pq.PQexecParams(self.connection, sql.encode(), len(parameters), None, texts, None, None, 0)
        else:
            result = _pq.PQexec(self.connection, sql.encode())
        try:
            if _pq.PQresultStatus(result) not in (0, 1, 2):
                message = (_pq.PQresultErrorField(result, ord("M")) or _pq.PQerrorMessage(self.connection) or b"").decode(errors="replace")
                state = (_pq.PQresultErrorField(result, ord("C")) or b"").decode()
                if _pq.PQstatus(self.connection) != 0:
                    self.close()
                raise PostgresError(message, state)
            width = _pq.PQnfields(result)
            return [
                [None if _pq.PQgetisnull(result, i, j) else _pq.PQgetvalue(result, i, j).decode() for j in range(width)]
                for i in range(_pq.PQntuples(result))
            ]
        finally:
            _pq.PQclear(result)

    def query(self, sql, *parameters, within=60):
        end = time.monotonic() + within
        while True:
            try:
                return self.once(sql, *parameters)
            except PostgresError as error:
                if not error.is_transient or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def value(self, sql, *parameters):
        rows = self.query(sql, *parameters)
        return rows[0][0] if rows else None
