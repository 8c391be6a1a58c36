from engage.rules cimport decisions, policy
from engage.rules.cell cimport Row, RuleCells
from engage.rules.cells cimport Cells

cdef class Deciding:
    cdef public Cells _cells
    cdef str _name
    cdef RuleCells _policy
    cdef object _settings
    cdef object _rules
    cdef object _hushed

    cpdef list decide_on(self, list proposals, object basis)
    cpdef object hear(self, Row row, object observer, object event)
    cdef bint _may_speak(self, object proposal, object basis) except -1
    cdef object _learn(self, Row row, object cell, object known)
