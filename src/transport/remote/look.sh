# How does the job stand?
if [ ! -d "$DR_DIRECTORY" ]; then echo absent; exit 0; fi
dr_dir=$(cd -P "$DR_DIRECTORY" && pwd -P)
dr_look
