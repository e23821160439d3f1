"""DICOM in: untrusted files are parsed and decoded in a child process; here come plain facts and float32 volumes."""
