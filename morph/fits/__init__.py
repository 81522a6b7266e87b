"""FITS files: headers, HDUs, planes, compression and checksums, read row by row as calibrated flux."""
